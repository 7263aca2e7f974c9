"""Enrolment: this host makes a key, spends an activation, and keeps what it will trust from then on.

The identity is written last. Before it is there nothing counts as done, and trying again goes on with the same key: a
registration whose answer was lost is answered with the same instance.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import socket
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional

from backfleet_host import VERSION
from backfleet_host.agent import machine
from backfleet_host.agent.protocol.server import (
    Address,
    Answer,
    BadAddress,
    Server,
    Unreachable,
    WrongAuthority,
    proxy_of,
    tls_towards,
)
from backfleet_host.agent.protocol.signing import make_key, private_pem, public_pem, read_private_pem
from backfleet_host.identity import Identity, keep_identity
from backfleet_host.layout import Places, hold, make_folder, write_whole

ROOT_METADATA = "/downloads/metadata/{}.root.json"
MOST_ROOTS = 256  # that are looked through for the newest
OK, NO_SUCH = 200, 404
LARGEST_ROOT = 1 << 20  # bytes


class CannotEnrol(Exception):
    """What went wrong and what to do about it, in one line. Nothing has changed."""


class _Refused(CannotEnrol):
    """The server said no: what was made for this try is of no use."""


@dataclass(frozen=True)
class Wish:
    """What the person at the command line asked for. Prints without the code."""

    server: Address
    authority: Path
    activation_id: str
    code: str
    name: str = ""
    release_root: Optional[Path] = None  # a root that came by another way; None = the server's

    def __repr__(self) -> str:
        return f"Wish({self.server}, {self.activation_id})"


def enrol(places: Places, wish: Wish, *, mode: str, now: datetime, say: Callable[[str], None]) -> Identity:
    """Register this host and keep its identity under `places`.

    Raises:
        CannotEnrol: and nothing has changed.
    """
    authority = _read_authority(wish.authority)
    given = None if wish.release_root is None else _given_root(wish.release_root)
    if places.identity.exists():
        raise CannotEnrol(
            f"{places.root} is already enrolled; `backfleet-host status` shows it. "
            f"To enrol anew, stop its agent and remove {places.agent}"
        )
    with _own_folder(places):
        with contextlib.closing(Server(wish.server, tls_towards(wish.authority), proxy=_proxy(places))) as server:
            root = given or release_root(server)
            key = _key_of(places, say)
            instance_id, machine_id = _registered(server, _registration(wish, key, mode))
        identity = Identity(instance_id, machine_id, str(wish.server), wish.name, now.isoformat())
        _keep(places, identity, authority, root)
    return identity


def _proxy(places: Places) -> str:
    try:
        return proxy_of(places.root)
    except BadAddress as problem:
        raise CannotEnrol(str(problem)) from None


def _read_authority(path: Path) -> bytes:
    try:
        tls_towards(path)
        return path.read_bytes()
    except FileNotFoundError:
        raise CannotEnrol(f"--ca {path}: there is no such file; fetch the server's ca.pem first") from None
    except OSError as problem:  # an SSLError is one
        raise CannotEnrol(f"--ca {path} cannot be used: {problem.strerror or problem}; it must be PEM") from None


@contextlib.contextmanager
def _own_folder(places: Places) -> Iterator[None]:
    """The agent's folder, made and held for this try; taken away again if the try was for nothing."""
    made = _made(places)
    try:
        with _alone(places):
            yield
    except BaseException as problem:
        # With a key kept, another try may find its registration done; without one there is nothing to keep.
        if isinstance(problem, _Refused) or not places.key.exists():
            _take_away(places, made)
        raise


@contextlib.contextmanager
def _alone(places: Places) -> Iterator[None]:
    try:
        lock = hold(places.lock)
        if lock is None:
            raise CannotEnrol(f"another backfleet-host is at work in {places.root}; wait for it, or stop it")
        try:
            yield
        finally:
            os.close(lock)
    except OSError as problem:
        raise _unwritable(places, problem) from None


def _made(places: Places) -> List[Path]:
    """Make the folder; says which of it and its parents were not there."""
    try:
        missing = [path for path in (places.agent, *places.agent.parents) if not path.exists()]
        make_folder(places.agent)
    except OSError as problem:
        raise _unwritable(places, problem) from None
    return missing


def _unwritable(places: Places, problem: OSError) -> CannotEnrol:
    reason = problem.strerror or str(problem)
    return CannotEnrol(f"{places.root} cannot be written to: {reason}; run as root, or choose another --root")


def _take_away(places: Places, made: List[Path]) -> None:
    for path in (places.key, places.lock):
        with contextlib.suppress(OSError):
            path.unlink()
    for path in made:
        with contextlib.suppress(OSError):
            path.rmdir()


def release_root(server: Server) -> bytes:
    """The newest release-signing root, fetched before anything is spent: without it no release could ever be believed.

    The newest, and not the first: keys that were replaced since count for nothing on a new host either.

    Raises:
        CannotEnrol: no answer, a stranger's, or no root.
    """
    newest = b""
    for version in range(1, MOST_ROOTS + 1):
        path = ROOT_METADATA.format(version)
        answer = _asked_for(server, path)
        if answer.status == NO_SUCH and newest:
            return newest
        if answer.status != OK or not is_root(answer.body, version):
            raise CannotEnrol(f"{server.address}{path} is no release root (status {answer.status}); is it Backfleet?")
        newest = answer.body
    return newest


def _asked_for(server: Server, path: str) -> Answer:
    try:
        return server.get(path, seconds=10.0, largest=LARGEST_ROOT)
    except WrongAuthority as problem:
        raise CannotEnrol(f"{problem}; is --ca the certificate authority of this server?") from None
    except Unreachable as problem:
        raise CannotEnrol(f"{problem}; is --server right, and is `backfleet serve` running there?") from None


def is_root(content: bytes, version: int = 0) -> bool:
    """Whether this is a release root, of this version if one is named."""
    try:
        signed = json.loads(content)["signed"]
        return signed["_type"] == "root" and type(signed["version"]) is int and version in (0, signed["version"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _given_root(path: Path) -> bytes:
    """A root that came by another way than the server: then no server can say which releases are to be believed."""
    try:
        content = path.read_bytes() if path.stat().st_size <= LARGEST_ROOT else b""
    except OSError as problem:
        raise CannotEnrol(f"--release-root {path} cannot be read: {problem.strerror}") from None
    if not is_root(content):
        raise CannotEnrol(f"--release-root {path} is no release root; take the newest N.root.json of your signers")
    return content


def _key_of(places: Places, say: Callable[[str], None]) -> Any:
    """The key of an earlier try whose answer may be lost, else a new one. On disk before it is used."""
    try:
        return read_private_pem(places.key.read_bytes())
    except (OSError, ValueError):
        say("making a key ...")
    key = make_key()
    write_whole(places.key, private_pem(key))
    return key


def _registration(wish: Wish, key: Any, mode: str) -> Dict[str, Any]:
    """The body of the registration (protocol page, 3.2); `agentMode` and `platform` are ours."""
    return {
        "activationCode": wish.code,
        "activationId": wish.activation_id,
        "machineId": machine.machine_id(),
        "regionId": "",
        "instanceName": wish.name,
        "hostname": socket.gethostname(),
        "intranetIp": machine.address_towards(wish.server.host, wish.server.port),
        "osVersion": machine.os_version(),
        "osType": "linux",
        "agentVersion": f"backfleet-{VERSION}",
        "publicKey": base64.b64encode(public_pem(key)).decode(),
        "tag": [],
        "agentMode": mode,
        "platform": machine.platform(),
    }


def _registered(server: Server, body: Dict[str, Any]) -> List[str]:
    """The instance id that the server gave, and the machine id that goes with it."""
    try:
        answer = server.post(
            "/luban/api/instance/register",
            json.dumps(body).encode(),
            kind="application/json; charset=utf-8",
            seconds=15.0,
        )
    except Unreachable as problem:
        raise CannotEnrol(
            f"{problem}; run the same line again: the host keeps its key and is registered once"
        ) from None
    said = _object(answer.body)
    instance_id = said.get("instanceId")
    if answer.status == 200 and said.get("code") == 200 and isinstance(instance_id, str) and instance_id:
        return [instance_id, body["machineId"]]
    if answer.status >= 500:
        raise CannotEnrol(
            f"{server.address} is in trouble (status {answer.status}); run the same line again in a while"
        )
    raise _Refused(f"the server refuses this enrolment: {_reason(answer.status, said)}")


def _object(body: bytes) -> Dict[str, Any]:
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _reason(status: int, said: Dict[str, Any]) -> str:
    reason = next((str(said[name]) for name in ("errMsg", "message", "Message", "errCode") if said.get(name)), "")
    told = reason[:300] or f"status {status}, code {said.get('code')}"
    return f"{told}; check --activation-id and --activation-code, or create a new one: `backfleet activation create`"


def _keep(places: Places, identity: Identity, authority: bytes, root: bytes) -> None:
    write_whole(places.authority, authority)
    make_folder(places.trusted_root.parent, mode=0o755)
    write_whole(places.trusted_root, root, mode=0o644)
    shutil.rmtree(places.tasks, ignore_errors=True)  # of an instance that this host no longer is
    keep_identity(places, identity)
