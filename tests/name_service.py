"""A name service that does not answer while a test goes on."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def silent_name_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever asks for an address waits until the end of the block, is told then that there is none, and ends in it."""
    over, before = threading.Event(), set(threading.enumerate())

    def never(*_: object, **__: object) -> None:
        over.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", never)
        try:
            yield
        finally:
            over.set()
            for thread in set(threading.enumerate()) - before:
                thread.join()
