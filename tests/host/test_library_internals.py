"""The internals of other libraries that the host program relies on, in the versions that are installed."""

import socket
import struct
from importlib.metadata import version

import pytest
import websocket

from backfleet_host import library_internals
from backfleet_host.library_internals import FrameTooLarge, limit_frame_size


def test_websocket_client_is_the_version_that_was_checked() -> None:
    """A new version: read how its frames are received, then raise the number."""
    assert version("websocket-client") == library_internals.WEBSOCKET_CLIENT_VERSION


def opened_on(content: bytes, largest: int) -> websocket.WebSocket:
    """A socket on which the server has already sent `content`."""
    ours, theirs = socket.socketpair()
    theirs.sendall(content)
    theirs.close()
    opened = websocket.WebSocket()
    limit_frame_size(opened, largest)
    opened.sock = ours
    return opened


@pytest.mark.parametrize("size", [1001, 65_536, 1 << 40])
def test_a_frame_that_is_too_large_is_not_read(size: int) -> None:
    """Its announced length alone ends the connection: nothing of the content is waited for."""
    opened = opened_on(b"\x82\x7f" + struct.pack("!Q", size), 1000)
    with pytest.raises(FrameTooLarge, match=str(size)):
        opened.recv_data_frame(control_frame=True)
    opened.shutdown()


def test_a_frame_of_the_largest_size_is_read() -> None:
    """The limit counts the content alone."""
    opened = opened_on(b"\x82\x7e" + struct.pack("!H", 1000) + b"x" * 1000, 1000)
    _, frame = opened.recv_data_frame(control_frame=True)
    assert frame.data == b"x" * 1000
    opened.shutdown()
