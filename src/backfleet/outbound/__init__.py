"""Requests to others: where the server may go, one request to one address, and signed webhooks. Knows no product.

- `Destinations` is what the settings allow; `place_of` checks a URL and the address of its name.
- `fetch` sends one request there: no redirect is followed, and time and size are limited as a whole.
- `read_secret` and `signed` are for webhooks in the form of Standard Webhooks.
"""

from backfleet.outbound.destinations import Destinations, NotAllowed, Place, Resolve, resolve
from backfleet.outbound.fetching import SECONDS, NoAnswer, Reply, fetch
from backfleet.outbound.signing import LEAST_SECRET, read_secret, signed

__all__ = [
    "LEAST_SECRET",
    "SECONDS",
    "Destinations",
    "NoAnswer",
    "NotAllowed",
    "Place",
    "Reply",
    "Resolve",
    "fetch",
    "read_secret",
    "resolve",
    "signed",
]
