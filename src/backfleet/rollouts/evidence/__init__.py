"""Evidence of a rollout: its chain of events with signed heads, as a file that is verified without a server.

Pure: what is stored is read by `backfleet.rollouts.sealing`. Why the key is derived, and what the file proves:
docs/decisions/0050-evidence-of-rollouts.md.

- `EvidenceKey` signs, `sign` and `opened` are one envelope (DSSE)
- `chosen` and `within_bounds` keep what hosts said within its bounds
- `lines_of` makes a file's lines, `verify` reads them and finds everything that does not agree
"""

from backfleet.rollouts.evidence.envelopes import EvidenceKey, Unsigned, opened, read_public_key, sign
from backfleet.rollouts.evidence.file import FORMAT, Found, digest_of, lines_of, verify
from backfleet.rollouts.evidence.lines import line_of

__all__ = [
    "FORMAT",
    "EvidenceKey",
    "Found",
    "Unsigned",
    "digest_of",
    "line_of",
    "lines_of",
    "opened",
    "read_public_key",
    "sign",
    "verify",
]
