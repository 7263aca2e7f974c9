"""Which authorities a TLS client believes. Reading those of the system takes 40 ms of processor time: it is done once.

Nobody may change what these functions return: others have it too.
"""

import contextlib
import functools
import os
import ssl
from pathlib import Path

_FOUND_IN = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Where an administrator can have OpenSSL look instead."""


def believing(authority: str | Path | None) -> ssl.SSLContext:
    """Return a context that believes the authorities in a file; those of the system if none is named.

    Raises:
        OSError: the file cannot be read, or (ssl.SSLError) holds no certificate.
    """
    if authority:
        return ssl.create_default_context(cafile=authority)
    return _of_the_system(_state())


def believing_also(authority: Path | None) -> ssl.SSLContext:
    """Return a context that believes the authorities of the system, and those in a file if one is named.

    Raises:
        OSError: the file cannot be read, or (ssl.SSLError) holds no certificate.
    """
    return believing(None) if authority is None else _also(authority, authority.read_bytes(), _state())


@functools.lru_cache(maxsize=1)
def _of_the_system(_state: object) -> ssl.SSLContext:
    return ssl.create_default_context()


@functools.lru_cache(maxsize=4)
def _also(authority: Path, _content: bytes, _state: object) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(authority)
    return context


def _state() -> object:
    """Return what differs once the system has other authorities."""
    places = ssl.get_default_verify_paths()
    found = []
    for path in (places.cafile, places.capath):
        with contextlib.suppress(OSError, TypeError):
            status = os.stat(path or "")
            found.append((status.st_ino, status.st_mtime_ns, status.st_size))
    return (*(os.environ.get(name) for name in _FOUND_IN), *found)
