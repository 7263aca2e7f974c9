"""Every place where the host program relies on internals of another library.

Each entry names the version it was checked against. tests/host/test_library_internals.py fails when a library changes
under it: check the entry against the new version then, and raise the number here.
"""

from __future__ import annotations

import tarfile
from typing import IO, Any, Protocol

WEBSOCKET_CLIENT_VERSION = "1.9.2"  # the version that `limit_message_size` was checked against


class MessageTooLarge(Exception):
    """The peer sends a WebSocket message that is larger than allowed."""


def limit_message_size(opened: Any, largest: int) -> None:
    """Make a `websocket.WebSocket` refuse messages of more than `largest` bytes before they fill the memory.

    The library has no such limit. It reads as many bytes as the header of a frame announces, up to 2**63, and joins as
    many frames to one message as the peer sends. Every part of a frame is read by `frame_buffer.recv_strict(size)`, and
    every frame of a message is joined by `cont_frame.add(frame)`; both are replaced on this one object.

    Raises:
        MessageTooLarge: from the methods of `opened` that receive.
    """
    receive, frames = opened.frame_buffer.recv_strict, opened.cont_frame
    join = frames.add

    def receive_at_most(size: int) -> Any:
        if size > largest:
            raise MessageTooLarge(f"the server announced a frame of {size} bytes; at most {largest} are accepted")
        return receive(size)

    def join_at_most(frame: Any) -> None:
        if frames.cont_data and len(frames.cont_data[1]) + len(frame.data) > largest:
            raise MessageTooLarge(f"the server sent a message of more than {largest} bytes in several frames")
        join(frame)

    opened.frame_buffer.recv_strict = receive_at_most
    frames.add = join_at_most


TARFILE_CHECKED_WITH = ((3, 10), (3, 13))  # the oldest and the newest Python whose tarfile was checked


class TarWatcher(Protocol):
    """Sees what a tar says before `tarfile` acts on it. Whatever it raises ends the reading."""

    def on_header(self, header: tarfile.TarInfo) -> None:
        """Check a header, before anything that it announces is read."""

    def on_global_header(self, content: bytes) -> None:
        """Check what is said of all entries that follow. It is not applied to them."""

    def on_sparse_file(self) -> None:
        """Refuse a sparse file, before its map is read: it may have any length."""

    def on_broken_header(self, problem: tarfile.HeaderError) -> None:
        """Refuse a header that is missing, cut off or damaged, which `tarfile` would take for the end."""


def open_tar(stream: IO[bytes], watcher: TarWatcher) -> Any:
    """Open a `tarfile.TarFile` that is read forwards only, and let `watcher` see every header first.

    The library reads descriptions of any length into memory, keeps global ones and copies them for each entry. Every
    header is dispatched by `TarInfo._proc_member`, and sparse files of the PAX format by `_proc_gnusparse_*`; both are
    replaced in subclasses, which the library lets its users name (`TarFile.tarinfo`).
    """

    class Header(tarfile.TarInfo):
        @classmethod
        def fromtarfile(cls, archive: Any) -> Header:
            try:
                return super().fromtarfile(archive)
            except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the end as it should be
                raise
            except tarfile.HeaderError as problem:
                watcher.on_broken_header(problem)
                raise

        def _proc_member(self, archive: Any) -> Any:
            watcher.on_header(self)
            if self.type == tarfile.GNUTYPE_SPARSE:
                watcher.on_sparse_file()
            if self.type == tarfile.XGLTYPE:
                watcher.on_global_header(archive.fileobj.read(self._block(self.size)))  # type: ignore[attr-defined]
                return self.fromtarfile(archive)
            return super()._proc_member(archive)  # type: ignore[misc]

        def _refuse_sparse_file(self, *_: Any) -> None:
            watcher.on_sparse_file()

        _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse_file

    class Tar(tarfile.TarFile):
        tarinfo = Header

    return Tar.open(fileobj=stream, mode="r|")
