"""Deltas between releases: what makes a version's content of that of an older one (0098).

- `make_delta` makes the file of a delta; hosts apply it with `backfleet_host.deltas`.
"""

from backfleet.releases.deltas.making import make_delta

__all__ = ["make_delta"]
