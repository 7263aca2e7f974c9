"""Deltas between releases: what makes a version's content of that of an older one (0098).

- `base_of` and `result_of` are what a delta begins from and what it makes, of an artifact.
- `make_delta` makes the file of a delta; hosts apply it with `backfleet_host.deltas`.
"""

from backfleet.releases.deltas.contents import base_of, result_of, unpack_to_the_same
from backfleet.releases.deltas.making import make_delta

__all__ = ["base_of", "make_delta", "result_of", "unpack_to_the_same"]
