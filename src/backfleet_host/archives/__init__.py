"""Read artifacts: wheel, zip, tar, deb or plain binary, one entry at a time, believing nothing in them.

Both sides read with this: the control plane when a release is added, the host when it unpacks. What one refuses the
other refuses too, whichever Python either runs on. Streams throughout: an entry is never held in memory as a whole,
and no more is read than the limits allow. What is cut off or damaged is refused, wherever the format lets it show.

- `walk` gives every entry of an artifact, checked, with a stream for each file.
- `head_of` and `begins_with_tar` recognise a tar, `control_of` reads what a Debian package declares.
- `compression_of` tells what the tar in an artifact is compressed with, and `can_read_zstd` whether this machine
  reads that.
"""

from backfleet_host.archives.model import FORMATS, LONGEST_PATH, BadArchive, Entries, Entry, Limits
from backfleet_host.archives.walking import begins_with_tar, can_read_zstd, compression_of, control_of, head_of, walk

__all__ = [
    "FORMATS",
    "LONGEST_PATH",
    "BadArchive",
    "Entries",
    "Entry",
    "Limits",
    "begins_with_tar",
    "can_read_zstd",
    "compression_of",
    "control_of",
    "head_of",
    "walk",
]
