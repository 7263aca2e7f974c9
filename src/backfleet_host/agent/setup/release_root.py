"""The release root: the signed metadata by which a host tells which releases to trust."""

from __future__ import annotations

import json
from pathlib import Path

from backfleet_host.agent.protocol.server import Answer, Server, Unreachable, WrongAuthority, WrongClock
from backfleet_host.agent.setup.enrolment_errors import CannotEnrol, ServerAway
from backfleet_host.download_paths import DOWNLOADS, METADATA

ROOT_METADATA = DOWNLOADS + METADATA + "/{}.root.json"
MOST_ROOTS = 256  # versions that are looked through for the newest
LARGEST_ROOT = 1 << 20  # bytes
FETCH_SECONDS = 10.0
OK, NO_SUCH = 200, 404


def fetch_release_root(server: Server) -> bytes:
    """Return the server's newest release root.

    The newest and not the first, so that keys that were replaced do not count on a new host either.

    Raises:
        CannotEnrol: there was no answer, it came from something else, or it is not a release root.
    """
    newest = b""
    for version in range(1, MOST_ROOTS + 1):
        path = ROOT_METADATA.format(version)
        answer = _get(server, path)
        if answer.status == NO_SUCH and newest:
            return newest
        if answer.status != OK or not is_root(answer.body, version):
            if answer.status >= 500:
                raise ServerAway(f"{server.address} failed with status {answer.status}; try again in a few minutes")
            found = f"{server.address}{path} is not a release root (status {answer.status})"
            raise CannotEnrol(f"{found}; is --server a Backfleet server?")
        newest = answer.body
    return newest


def _get(server: Server, path: str) -> Answer:
    try:
        return server.get(path, seconds=FETCH_SECONDS, largest=LARGEST_ROOT)
    except WrongAuthority as problem:
        raise CannotEnrol(f"{problem}; is --ca the certificate authority of this server?") from None
    except WrongClock as problem:
        raise CannotEnrol(str(problem)) from None
    except Unreachable as problem:
        raise ServerAway(f"{problem}; is --server right, and is `backfleet serve` running there?") from None


def read_release_root(path: Path) -> bytes:
    """Return the release root in a file that did not come from the server.

    With such a root even a server that was taken over cannot say which releases the host trusts.

    Raises:
        CannotEnrol: the file cannot be read, or is not a release root.
    """
    try:
        content = path.read_bytes() if path.stat().st_size <= LARGEST_ROOT else b""
    except OSError as problem:
        raise CannotEnrol(f"--release-root {path} cannot be read: {problem.strerror}") from None
    if not is_root(content):
        raise CannotEnrol(f"--release-root {path} is not a release root; use the newest N.root.json of your signers")
    return content


def is_root(content: bytes, version: int = 0) -> bool:
    """Tell whether this is a release root, and of this version unless `version` is 0. Signatures are not checked."""
    try:
        signed = json.loads(content)["signed"]
        return signed["_type"] == "root" and type(signed["version"]) is int and version in (0, signed["version"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
