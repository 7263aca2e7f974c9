"""Every place where the host program relies on internals of another library.

Each entry names the version it was checked against. tests/host/test_library_internals.py fails when a library changes
under it: check the entry against the new version then, and raise the number here.
"""

from __future__ import annotations

from typing import Any

WEBSOCKET_CLIENT_VERSION = "1.9.2"  # the version that `limit_frame_size` was checked against


class FrameTooLarge(Exception):
    """The peer announced a WebSocket frame that is larger than allowed."""


def limit_frame_size(opened: Any, largest: int) -> None:
    """Make a `websocket.WebSocket` refuse frames of more than `largest` bytes before it reads them.

    The library has no such limit: it reads as many bytes as a frame's header announces, up to 2**63. Every part of a
    frame is read by `frame_buffer.recv_strict(size)`, which is replaced on this one object.

    Raises:
        FrameTooLarge: from the methods of `opened` that receive.
    """
    receive = opened.frame_buffer.recv_strict

    def receive_at_most(size: int) -> Any:
        if size > largest:
            raise FrameTooLarge(f"the server announced a frame of {size} bytes; at most {largest} are accepted")
        return receive(size)

    opened.frame_buffer.recv_strict = receive_at_most
