"""Read what an artifact shows of itself, and refuse what contradicts its description. Knows no release but this one.

- `format_of` recognises an artifact by its first bytes, whatever it is called.
- `examine` reads the commands and what a deb or wheel declares, and compares both with the manifest.
- `upstream_versions` are the versions that a program in a release may print.
"""

from backfleet.releases.contents.declared import upstream_versions
from backfleet.releases.contents.examining import Findings, examine
from backfleet.releases.contents.formats import format_of

__all__ = ["Findings", "examine", "format_of", "upstream_versions"]
