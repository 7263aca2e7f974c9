"""What shims send when a run begins: one datagram each, with the process and the user as the kernel knows them."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

from backfleet_host.layout import PACKAGE, version_in_folder

SOCKET = ".runs"
"""The name of the socket under the root. No package can have it. shim.c has the same name."""

_LONGEST = 1024  # bytes: NOTE_SIZE of shim.c
_CREDENTIALS = struct.Struct("3i")  # process, user, group. Source: unix(7), SCM_CREDENTIALS
_AT_ONCE = 1000  # notes read in one go: others wait their turn


class Note(NamedTuple):
    """The start of one run. Process and user are the sender's; the rest is what it says of itself."""

    pid: int
    uid: int
    package: str
    version: str
    command: str
    arguments: Tuple[str, ...]  # the first ones; the last may be cut off


class NotesSocket:
    """The socket that shims send to. Every user may: whoever can run the client can have a run noted."""

    def __init__(self, root: Path) -> None:
        """Listen.

        Raises:
            OSError: this is not to be had under this root, for example because its path is too long.
        """
        self._root, path = root, root / SOCKET
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.bind(os.fsencode(path))
            path.chmod(0o666)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Stop to listen."""
        self._socket.close()

    def read_all(self) -> List[Note]:
        """Return the notes that wait. What is none of a managed client is left out."""
        found = []
        for _ in range(_AT_ONCE):
            try:
                content, ancillary, _, _ = self._socket.recvmsg(_LONGEST, socket.CMSG_SPACE(_CREDENTIALS.size))
            except OSError:
                break
            for level, kind, data in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    pid, uid, _ = _CREDENTIALS.unpack(data[: _CREDENTIALS.size])
                    note = read_note(self._root, pid, uid, content)
                    found += [] if note is None else [note]
        return found


def read_note(root: Path, pid: int, uid: int, content: bytes) -> Optional[Note]:
    """Return what a datagram says; None if it is of another form, or its program is in no version that is here."""
    parts = [os.fsdecode(part) for part in content.split(b"\0")]
    if len(parts) < 5 or parts[0] != "1" or not re.fullmatch(PACKAGE, parts[1]):
        return None
    package, command, program = parts[1:4]
    versions = root / package / "versions"
    if not program.startswith(f"{versions}/"):
        return None
    folder = program[len(f"{versions}/") :].split("/", 1)[0]
    version = version_in_folder(folder)
    if not version or not (versions / folder).is_dir():
        return None
    return Note(pid, uid, package, version, command, tuple(parts[4:-1]))
