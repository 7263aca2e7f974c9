"""Listening sockets: those bound here, and those that systemd or our own parent holds while the service restarts.

A connection that arrives during a restart waits in systemd's socket instead of failing: an official agent whose
connection fails may stay away for half an hour. Source: sd_listen_fds(3), sd_notify(3).
"""

import contextlib
import os
import socket
from collections.abc import Mapping, MutableMapping

FIRST = 3  # the first descriptor that systemd hands over
BACKLOG = 4096  # connections that wait while the server is busy: agents that are refused stay away for long
READY_VARIABLE = "BACKFLEET_READY"  # names the descriptor on which our own parent waits for a byte


class CannotListen(Exception):
    """An address is malformed or taken; the text names the flag and says what to do."""


def bind(name: str, address: str) -> socket.socket:
    """Bind a listener without accepting connections yet.

    Args:
        name: The listener's flag, for messages.
        address: HOST:PORT. Port 0 picks a free one.

    Raises:
        CannotListen: the address is malformed or taken.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", int(port.encode("ascii")), type=socket.SOCK_STREAM)[0]  # noqa: S104
    except (ValueError, OSError):  # int takes the digits of every script, but not as bytes
        raise CannotListen(f"--{name} takes HOST:PORT, not {address!r}") from None
    bound = socket.socket(found[0], found[1])
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(found[4])
    except OSError as problem:
        bound.close()
        raise CannotListen(f"--{name} {address} cannot be used: {problem.strerror}; choose another port") from problem
    return bound


def address_of(bound: socket.socket) -> str:
    """Return the HOST:PORT that a listener is bound to."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable_address(address: str) -> str:
    """Return a listener's HOST:PORT as a client on this machine writes it."""
    host, _, port = address.rpartition(":")
    return f"127.0.0.1:{port}" if host in ("0.0.0.0", "[::]") else address  # noqa: S104


def inherited_sockets(environment: MutableMapping[str, str] = os.environ) -> dict[str, socket.socket]:
    """Return the listeners that systemd or our own parent holds, by their names: `http` and `https`.

    The variables are removed from the environment, so that processes we start do not take the listeners for theirs.
    """
    are_ours = environment.get("LISTEN_PID") == str(os.getpid())
    count, names = environment.get("LISTEN_FDS", ""), environment.get("LISTEN_FDNAMES", "").split(":")
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environment.pop(name, None)
    if not are_ours or not count.isdecimal():
        return {}
    found = {}
    for name, descriptor in zip(names, range(FIRST, FIRST + int(count)), strict=False):
        os.set_inheritable(descriptor, False)
        found[name] = socket.socket(fileno=descriptor)
    return found


def tell_parent_ready(environment: MutableMapping[str, str] = os.environ) -> None:
    """Report to the parent that holds the listeners, if there is one, that this process serves."""
    descriptor = environment.pop(READY_VARIABLE, "")
    if descriptor.isdecimal():
        with contextlib.suppress(OSError):
            os.write(int(descriptor), b"1")
            os.close(int(descriptor))


def tell_systemd(state: str, environment: Mapping[str, str] = os.environ) -> None:
    """Report `READY=1` or `STOPPING=1` to systemd, if it started this process and wants to know."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender, contextlib.suppress(OSError):
        sender.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
        sender.sendall(state.encode())
