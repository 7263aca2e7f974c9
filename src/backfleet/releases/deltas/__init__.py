"""Deltas between releases: what makes a version's content of that of an older one (0098). Owns `release_deltas`.

- `run_once` is the worker that makes them, `wanted` chooses which; `outlook` says which it cannot make, and why.
- `base_of` and `result_of` are what a delta begins from and what it makes, of an artifact.
- `make_delta` makes the file of a delta; hosts apply it with `backfleet_host.deltas`.
"""

from backfleet.releases.deltas.choosing import wanted
from backfleet.releases.deltas.contents import base_of, result_of, unpack_to_the_same
from backfleet.releases.deltas.making import make_delta
from backfleet.releases.deltas.worker import Outlook, outlook, run_once

__all__ = ["Outlook", "base_of", "make_delta", "outlook", "result_of", "run_once", "unpack_to_the_same", "wanted"]
