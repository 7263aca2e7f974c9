"""The open connections of this process: how many there may be, and which one goes when there are too many.

Every connection costs a descriptor. A server without descriptors answers nobody, so there is a limit below theirs, in
all and for one address. Above it the oldest connection on which no request is being answered goes; if there is none,
the new one is refused. Agents' sockets and downloads are requests that are being answered: a flood of silent
connections ends none of them.
"""

import logging
import resource
import socket
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import prometheus_client

from backfleet.values import value_object

RESERVED: Final = 256  # descriptors for the database, files and everything else
PER_CONNECTION: Final = 4 / 3  # descriptors: a download has its file open, too
MOST_DESCRIPTORS: Final = 1 << 20  # a higher limit costs memory in the kernel, for nothing
PART_OF_ONE_ADDRESS: Final = 0.75  # a whole site may be behind one address, but not all of the limit
LOOKED_AT: Final = 128  # connections that are looked at to find an idle one
KEEP_ALIVE_SECONDS: Final = 120.0  # of an idle connection: agents keep theirs for 90 s
GRACE_SECONDS: Final = 6.0  # for requests under way when the server is told to stop; the whole stop takes at most 10 s
LOGGED_EVERY: Final = 60.0  # seconds between two lines about connections that were closed or refused

OPEN = prometheus_client.Gauge("backfleet_connections", "Open connections, also those whose handshake is under way.")
REFUSED = prometheus_client.Counter(
    "backfleet_connections_refused_total", "Connections closed because there were too many.", ["which"]
)

log = logging.getLogger(__name__)


@value_object
class Limits:
    """How many connections there may be, in all and from one address."""

    most: int
    most_per_address: int


def raise_descriptor_limit() -> int:
    """Raise this process's limit of open descriptors as far as it may; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def limits_of(descriptors: int, most: int, most_per_address: int) -> Limits:
    """Return the limits in force. Pure.

    Args:
        descriptors: How many this process may have open.
        most: The setting, 0 for as many as the descriptors allow. More than these is never allowed.
        most_per_address: The setting, 0 for three quarters of all.
    """
    allowed = max(16, int((descriptors - RESERVED) / PER_CONNECTION))
    found = min(most or allowed, allowed)
    return Limits(found, min(most_per_address or max(1, int(found * PART_OF_ONE_ADDRESS)), found))


class Connection(socket.socket):
    """An accepted connection."""

    source: tuple[str, int] | None = None  # the address and port that a balancer named, if one did
    has_transport = False  # which closes it then
    on_close: Callable[["Connection"], None] | None = None

    def getpeername(self) -> Any:
        """Return the other end, or the address that the balancer named."""
        return self.source or super().getpeername()

    def has_unread(self) -> bool:
        """Return whether something has arrived that was not read: dozens are accepted before a first request is."""
        try:
            return bool(self.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:
            return False

    def close(self) -> None:
        """Close it, and say so once."""
        ended, self.on_close = self.on_close, None
        super().close()
        if ended is not None:
            ended(self)


@dataclass(slots=True)
class _Open:
    """What is known of an open connection."""

    address: str
    is_busy: Callable[[], bool]
    end: Callable[[], object]


@dataclass(slots=True)
class _Muted:
    """One kind of event: logged at most once in a while, with how often it happened."""

    count: int = 0
    logged_at: float = float("-inf")


@dataclass(slots=True)
class Connections:
    """The open connections of both listeners, the oldest first. Used from the event loop only."""

    limits: Limits
    exempt: Callable[[str], bool]  # whether an address is a balancer's: only the limit of all counts for it
    now: Callable[[], float]  # seconds, monotonic
    _open: OrderedDict[Connection, _Open] = field(default_factory=OrderedDict)
    _of: dict[str, OrderedDict[Connection, None]] = field(default_factory=dict)
    _muted: dict[str, _Muted] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_full(self) -> bool:
        """Whether a new one could only come in place of another one."""
        return len(self._open) >= self.limits.most

    def add(self, connection: Connection, address: str, is_busy: Callable[[], bool], end: Callable[[], object]) -> bool:
        """Let a new connection in, if need be in place of an idle one; return whether it may stay.

        Args:
            connection: It has just been accepted.
            address: Its other end.
            is_busy: Whether a request on it is being answered.
            end: Closes it at once.
        """
        if len(self._open) >= self.limits.most and not self._end_idle(self._open, "all"):
            return False
        if not self._has_place(address):
            return False
        self._open[connection] = _Open(address, is_busy, end)
        self._of.setdefault(address, OrderedDict())[connection] = None
        connection.on_close = self._closed
        OPEN.set(len(self._open))
        return True

    def opened(self, connection: Connection, is_busy: Callable[[], bool], end: Callable[[], object]) -> None:
        """Note that the handshake is over: from now on requests count."""
        known = self._open.get(connection)
        if known is None:
            end()  # it was closed to make place
        else:
            known.is_busy, known.end = is_busy, end

    def rename(self, connection: Connection, address: str) -> bool:
        """Note the address that a balancer named; return whether the connection may stay."""
        known = self._open.get(connection)
        if known is None or not self._has_place(address):
            return False
        self._forget_address(connection, known.address)
        known.address = address
        self._of.setdefault(address, OrderedDict())[connection] = None
        return True

    def note(self, what: str, text: str) -> None:
        """Log that something happened; at most once in a while for each `what`, with how often it did."""
        kind = self._muted.setdefault(what, _Muted())
        kind.count += 1
        self.refused[what] += 1
        REFUSED.labels(what).inc()
        if self.now() - kind.logged_at >= LOGGED_EVERY:
            log.warning("%s (%d times since the last such line)", text, kind.count)
            kind.count, kind.logged_at = 0, self.now()

    def _has_place(self, address: str) -> bool:
        same = self._of.get(address, OrderedDict())
        if len(same) < self.limits.most_per_address or self.exempt(address):
            return True
        return self._end_idle(same, "address")

    def _end_idle(self, among: "OrderedDict[Connection, Any]", which: str) -> bool:
        """End the oldest idle connection; return whether there was one. Busy ones that were looked at go to the end."""
        limit = self.limits.most if which == "all" else self.limits.most_per_address
        whose = "in all" if which == "all" else "from one address"
        for connection in list(_first(among, LOOKED_AT)):
            if self._open[connection].is_busy() or connection.has_unread():
                among.move_to_end(connection)
                continue
            self.note(f"idle, {which}", f"idle connections were closed: there were {limit} {whose}")
            ending = self._open[connection].end
            self._closed(connection)
            ending()
            return True
        self.note(f"new, {which}", f"connections were refused: there are {limit} {whose}, all in use")
        return False

    def _closed(self, connection: Connection) -> None:
        known = self._open.pop(connection, None)
        connection.on_close = None
        if known is not None:
            self._forget_address(connection, known.address)
            OPEN.set(len(self._open))

    def _forget_address(self, connection: Connection, address: str) -> None:
        same = self._of[address]
        same.pop(connection, None)
        if not same:
            del self._of[address]


def _first(among: "OrderedDict[Connection, Any]", count: int) -> list[Connection]:
    return [connection for connection, _ in zip(among, range(count), strict=False)]
