"""Logins by an identity provider (OpenID Connect): authorization code with PKCE. Owns no table.

Which providers there are, and where they are asked, is in a file of the server's settings; whose tokens count, and for
which role, is in `identity`. Nothing is discovered: only the addresses of that file are asked.

- `read_offers` reads the file, `Offers` has one `Offer` for each way to log in.
- `begin` makes an attempt: the address to send a browser to, and what the browser keeps sealed until it comes back.
- `finish` checks what the browser came back with; `Provider` asks for the tokens and returns the verified one.
"""

from backfleet.logins.oidc.asking import Provider
from backfleet.logins.oidc.attempts import ATTEMPT_LIFE, Attempt, begin, finish
from backfleet.logins.oidc.model import LoginRefused, Offer, Offers
from backfleet.logins.oidc.offers import read_offers

__all__ = ["ATTEMPT_LIFE", "Attempt", "LoginRefused", "Offer", "Offers", "Provider", "begin", "finish", "read_offers"]
