"""Copies of a whole installation in one file: database, keys, certificates and artifacts, encrypted.

- `write_copy` makes one, of a server that runs or not; `read_copy` brings one back into an empty installation.
- `Artifacts` says which artifacts a copy should have that the data folder lacks, and fetches them.
- `note_copy` remembers that one was made, `last_copy` returns when. Owns the table `last_copies`.
- `Lock` says how a copy is encrypted and `Opener` how it is opened; `age` has the format.

A copy holds the rows of the tables, not the files of an engine: it is consistent while the server writes, and one of
SQLite can be restored into PostgreSQL. Knows nothing of what the rows mean; `backfleet.restoring` does.
"""

from backfleet.copies.age import CannotOpen, Lock, Opener, is_encrypted
from backfleet.copies.model import Artifacts, CannotCopy, CannotFetch, CannotRestore, Facts
from backfleet.copies.noting import last_copy, note_copy
from backfleet.copies.reading import Unpacked, read_copy
from backfleet.copies.writing import Written, write_copy

__all__ = [
    "Artifacts",
    "CannotCopy",
    "CannotFetch",
    "CannotOpen",
    "CannotRestore",
    "Facts",
    "Lock",
    "Opener",
    "Unpacked",
    "Written",
    "is_encrypted",
    "last_copy",
    "note_copy",
    "read_copy",
    "write_copy",
]
