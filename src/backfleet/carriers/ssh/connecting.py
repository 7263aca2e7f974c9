"""Connections to hosts: pinned host keys only, one key to log in with, nothing from this machine's own SSH settings.

What the network says is turned into an `SshProblem` here.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import asyncssh
from asyncssh.public_key import get_default_public_key_algs

from backfleet.carriers.ssh.keys import describe, described, line_of
from backfleet.carriers.ssh.model import (
    HOST_KEY_CHANGED,
    LOGIN_REFUSED,
    NOT_ALLOWED,
    UNREACHABLE,
    Hop,
    SshHost,
    SshProblem,
)
from backfleet.outbound import Destinations, NotAllowed, resolve

CONNECT_SECONDS: Final = 15.0  # for each hop, the login included
KEEPALIVE_SECONDS: Final = 10  # after three of them without an answer a connection is lost
KINDS_SCANNED: Final = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512")

_NOTHING_FROM_HERE: Final[dict[str, Any]] = {
    "config": None,
    "agent_path": None,
    "agent_forwarding": False,
    "preferred_auth": "publickey",
    "x509_trusted_certs": None,
    "gss_host": None,
}

asyncssh.set_log_level("WARNING")  # it has a line for each channel of each connection


class _Pinned(asyncssh.SSHClient):
    """Trusts the pinned keys of one hop, and remembers which key the other end showed."""

    def __init__(self, hop: Hop) -> None:
        self._known = set(hop.host_keys)
        self.shown: asyncssh.SSHKey | None = None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.shown = key
        return line_of(key) in self._known


@asynccontextmanager
async def connected(host: SshHost, private: str, allowed: Destinations) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """Connect to a host through its jump hosts and log in; close everything at the end.

    Raises:
        SshProblem: it is out of reach, shows another host key than the pinned ones, refuses the key, or the server's
            settings do not allow it.
    """
    async with AsyncExitStack() as open_ones:
        first, *others = (*host.jumps, host.target)
        address = await _checked(first, allowed)
        tunnel = await open_ones.enter_async_context(_closing(await _log_in(first, address, private, None)))
        for hop in others:
            tunnel = await open_ones.enter_async_context(_closing(await _log_in(hop, hop.address, private, tunnel)))
        yield tunnel


@asynccontextmanager
async def _closing(connection: asyncssh.SSHClientConnection) -> AsyncIterator[asyncssh.SSHClientConnection]:
    try:
        yield connection
    finally:
        connection.abort()  # an orderly end would wait for the other side


async def _checked(hop: Hop, allowed: Destinations) -> str:
    """Return the one address to connect to. Nothing is resolved again after it was checked."""
    try:
        place = await asyncio.to_thread(allowed.place_of, f"https://{hop.place}/", resolve)
    except NotAllowed as problem:
        raise SshProblem(NOT_ALLOWED, str(problem)) from None
    except OSError as problem:
        raise SshProblem(UNREACHABLE, f"{hop.address} has no address: {problem.strerror}") from None
    return place.address


async def _log_in(
    hop: Hop, address: str, private: str, tunnel: asyncssh.SSHClientConnection | None
) -> asyncssh.SSHClientConnection:
    client = _Pinned(hop)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await asyncssh.connect(
                address,
                hop.port,
                tunnel=tunnel,
                username=hop.user,
                client_keys=[asyncssh.import_private_key(private)],
                client_factory=lambda: client,
                known_hosts=([], [], []),  # the client knows them
                server_host_key_algs=_preferred(hop),
                keepalive_interval=KEEPALIVE_SECONDS,
                **_NOTHING_FROM_HERE,
            )
    except (OSError, asyncssh.Error) as problem:
        raise _problem_of(problem, hop, client.shown) from None


def _problem_of(problem: Exception, hop: Hop, shown: asyncssh.SSHKey | None) -> SshProblem:
    known = ", ".join(described(line) for line in hop.host_keys)
    if isinstance(problem, asyncssh.HostKeyNotVerifiable):
        found = describe(shown) if shown is not None else "a certificate"
        return SshProblem(
            HOST_KEY_CHANGED,
            f"{hop.place} shows the host key {found}, and is known by {known}. If it was installed anew, import it "
            "again with its new key; if not, somebody may be in between",
        )
    if isinstance(problem, asyncssh.PermissionDenied):
        return SshProblem(LOGIN_REFUSED, f"{hop.place} lets {hop.user} not in with this key: add it to authorized_keys")
    if isinstance(problem, TimeoutError):
        return SshProblem(UNREACHABLE, f"{hop.place} did not answer within {CONNECT_SECONDS:.0f} s")
    why = getattr(problem, "reason", "") or getattr(problem, "strerror", "")
    return SshProblem(UNREACHABLE, f"{hop.place} cannot be reached: {why or type(problem).__name__}")


def _preferred(hop: Hop) -> list[str]:
    """Return algorithms of host keys, those of the pinned keys first: a host shows the first one that it has."""
    pinned: list[str] = []
    for line in hop.host_keys:
        pinned += [name.decode() for name in asyncssh.import_public_key(line).sig_algorithms]
    every = [name.decode() for name in get_default_public_key_algs()]
    return list(dict.fromkeys([*pinned, *every]))


async def scan(hop: Hop, allowed: Destinations) -> tuple[str, ...]:
    """Return the host keys that an SSH server shows, as they are stored. It is not logged in to.

    Raises:
        SshProblem: the server's settings do not allow it, or it shows none.
    """
    address = await _checked(hop, allowed)
    found: list[str] = []
    problem: Exception | None = None
    for kind in KINDS_SCANNED:
        try:
            async with asyncio.timeout(CONNECT_SECONDS / 2):
                key = await asyncssh.get_server_host_key(address, hop.port, config=None, server_host_key_algs=[kind])
        except (TimeoutError, ConnectionRefusedError) as failed:
            problem = failed
            break
        except (OSError, asyncssh.Error) as failed:
            problem = failed  # OpenSSH hangs up where it has no key of this kind
            continue
        if key is not None:
            found.append(line_of(key))
    if not found:
        raise _problem_of(problem or OSError(), hop, None)
    return tuple(dict.fromkeys(found))
