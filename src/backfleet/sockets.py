"""What systemd hands a service: listeners that stay open while the service restarts, and an ear for how it is.

Source: sd_listen_fds(3), sd_notify(3). A connection that comes during a restart waits instead of failing; an official
agent whose dial fails may stay away for half an hour.
"""

import contextlib
import os
import socket
from collections.abc import Mapping, MutableMapping

FIRST = 3  # the first descriptor handed over


def inherited_sockets(environment: MutableMapping[str, str] = os.environ) -> dict[str, socket.socket]:
    """Listeners by the names their units give them (`FileDescriptorName=http`, `https`); none if there are none.

    The variables are taken away: processes that we start must not think that the listeners are theirs.
    """
    mine = environment.get("LISTEN_PID") == str(os.getpid())
    count, names = environment.get("LISTEN_FDS", ""), environment.get("LISTEN_FDNAMES", "").split(":")
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environment.pop(name, None)
    if not mine or not count.isdecimal():
        return {}
    found = {}
    for name, descriptor in zip(names, range(FIRST, FIRST + int(count)), strict=False):
        os.set_inheritable(descriptor, False)
        found[name] = socket.socket(fileno=descriptor)
    return found


def tell_systemd(state: str, environment: Mapping[str, str] = os.environ) -> None:
    """Say `READY=1` or `STOPPING=1` to whoever started us, if they listen."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as ear, contextlib.suppress(OSError):
        ear.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
        ear.sendall(state.encode())
