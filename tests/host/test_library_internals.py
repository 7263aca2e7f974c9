"""The internals of other libraries that the host program relies on, in the versions that are installed."""

import hashlib
import inspect
import io
import socket
import struct
import sys
import tarfile
from importlib.metadata import version

import pytest
import websocket

from backfleet_host import library_internals
from backfleet_host.library_internals import MessageTooLarge, limit_message_size, open_tar

DISPATCHING = "c23f9f8b9da9b868"  # of the source of tarfile.TarInfo._proc_member in every version that was checked


def test_websocket_client_is_the_version_that_was_checked() -> None:
    """A new version: read how its frames are received, then raise the number."""
    assert version("websocket-client") == library_internals.WEBSOCKET_CLIENT_VERSION


def opened_on(content: bytes, largest: int) -> websocket.WebSocket:
    """A socket on which the server has already sent `content`."""
    ours, theirs = socket.socketpair()
    theirs.sendall(content)
    theirs.close()
    opened = websocket.WebSocket()
    limit_message_size(opened, largest)
    opened.sock = ours
    return opened


@pytest.mark.parametrize("size", [1001, 65_536, 1 << 40])
def test_a_frame_that_is_too_large_is_not_read(size: int) -> None:
    """Its announced length alone ends the connection: nothing of the content is waited for."""
    opened = opened_on(b"\x82\x7f" + struct.pack("!Q", size), 1000)
    with pytest.raises(MessageTooLarge, match=str(size)):
        opened.recv_data_frame(control_frame=True)
    opened.shutdown()


def test_a_frame_of_the_largest_size_is_read() -> None:
    """The limit counts the content alone."""
    opened = opened_on(b"\x82\x7e" + struct.pack("!H", 1000) + b"x" * 1000, 1000)
    _, frame = opened.recv_data_frame(control_frame=True)
    assert frame.data == b"x" * 1000
    opened.shutdown()


def frame(opcode: int, content: bytes, *, is_last: bool) -> bytes:
    """A frame as a server sends it."""
    return bytes([(0x80 if is_last else 0) | opcode, 0x7E]) + struct.pack("!H", len(content)) + content


def test_a_message_of_endless_frames_is_not_joined() -> None:
    """Each frame is small enough; together they would fill the memory."""
    opened = opened_on(frame(2, b"x" * 400, is_last=False) + frame(0, b"x" * 400, is_last=False) * 2, 1000)
    with pytest.raises(MessageTooLarge, match="several frames"):
        opened.recv_data_frame(control_frame=True)
    opened.shutdown()


def test_a_message_of_several_frames_is_joined() -> None:
    """Up to the largest size; a pong may stand in between."""
    content = frame(1, b"kick", is_last=False) + b"\x8a\x00" + frame(0, b"_vm", is_last=True)
    opened = opened_on(content, 7)
    assert opened.recv_data_frame(control_frame=True)[0] == websocket.ABNF.OPCODE_PONG
    kind, joined = opened.recv_data_frame(control_frame=True)
    assert (kind, joined.data) == (websocket.ABNF.OPCODE_TEXT, b"kick_vm")
    opened.shutdown()


class Seen:
    """Writes down what a tar says, and how far it had been read then."""

    def __init__(self, stream: io.BytesIO) -> None:
        self.stream, self.events = stream, list[tuple[object, int]]()

    def on_header(self, header: tarfile.TarInfo) -> None:
        self.events.append((header.type, self.stream.tell()))

    def on_global_header(self, content: bytes) -> None:
        self.events.append(("global", len(content)))

    def on_sparse_file(self) -> None:
        raise ValueError("sparse")

    def on_broken_header(self, problem: tarfile.HeaderError) -> None:
        raise ValueError("broken")


class Blocks(io.BytesIO):
    """Gives a block at a time: what was read shows what was asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(512, size) if size and size > 0 else size)


def header(kind: bytes, size: int, name: str = "a") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def test_tarfile_is_of_a_version_that_was_checked() -> None:
    """A new Python: read how it dispatches headers, then raise the number."""
    oldest, newest = library_internals.TARFILE_CHECKED_WITH
    assert oldest <= sys.version_info[:2] <= newest


def test_tarfile_dispatches_headers_as_it_did() -> None:
    """The source of the one method that is replaced."""
    source = inspect.getsource(tarfile.TarInfo._proc_member)  # type: ignore[attr-defined]
    assert hashlib.sha256(source.encode()).hexdigest().startswith(DISPATCHING)


@pytest.mark.parametrize(
    "kind",
    [tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK],
)
def test_a_header_is_seen_before_what_it_announces_is_read(kind: bytes) -> None:
    content = b"11 path=ab\n" if kind in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE) else b"x\0"
    stream = Blocks(header(kind, 1 << 16) + content.ljust(1 << 16, b"\0") + header(tarfile.REGTYPE, 0) + b"\0" * 1024)
    seen = Seen(stream)
    with pytest.raises(StopReading):
        open_tar(stream, StoppingAt(kind, seen)).next()
    assert [event for event, _ in seen.events] == [kind]
    assert stream.tell() < 1 << 16


class StopReading(Exception):
    pass


class StoppingAt(Seen):
    """Ends the reading at the first header."""

    def __init__(self, kind: bytes, seen: Seen) -> None:
        super().__init__(seen.stream)
        self.events = seen.events

    def on_header(self, header: tarfile.TarInfo) -> None:
        super().on_header(header)
        raise StopReading


def test_a_global_header_is_shown_and_not_applied() -> None:
    comment = b"18 comment=hello.\n"
    stream = io.BytesIO(
        header(tarfile.XGLTYPE, len(comment)) + comment.ljust(512, b"\0") + header(tarfile.REGTYPE, 0) + b"\0" * 1024
    )
    seen = Seen(stream)
    with open_tar(stream, seen) as archive:
        entry = archive.next()
    assert ("global", 512) in seen.events
    assert entry.pax_headers == {}
    assert archive.pax_headers == {}


@pytest.mark.parametrize("form", ["0.0", "0.1", "1.0", "gnu"])
def test_a_sparse_file_is_refused_in_every_form(form: str) -> None:
    records = {
        "0.0": {"GNU.sparse.size": "1", "GNU.sparse.offset": "0", "GNU.sparse.numbytes": "1"},
        "0.1": {"GNU.sparse.size": "1", "GNU.sparse.map": "0,1"},
        "1.0": {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1"},
        "gnu": {},
    }[form]
    info = tarfile.TarInfo("a")
    info.pax_headers = records
    if form == "gnu":
        info.type = tarfile.GNUTYPE_SPARSE
    content = info.tobuf(tarfile.GNU_FORMAT if form == "gnu" else tarfile.PAX_FORMAT) + b"\0" * 1024
    stream = io.BytesIO(content)
    with pytest.raises(ValueError, match="sparse"):
        open_tar(stream, Seen(stream)).next()


def test_a_broken_header_is_no_end() -> None:
    """By itself the library takes it for the end, if it is not the first."""
    stream = io.BytesIO(header(tarfile.REGTYPE, 0) + b"broken".ljust(512, b"x") + b"\0" * 1024)
    with open_tar(stream, Seen(stream)) as archive:
        archive.next()
        with pytest.raises(ValueError, match="broken"):
            archive.next()
