"""What the processes of one server have in common: descriptors that their parent makes and hands to each of them.

Nothing of it has a name on a disk or in the network: it vanishes with the processes. The parent keeps all of it open,
so that a process that replaces another one finds what that had.

- An inbox for each process, a datagram socket on which the others send it notifications and questions for its figures.
- A file in memory for each process, with its counters as they were last shown (see `figures`).
- Two locks at which the processes take turns to write to SQLite, and an event for each (see `storage`).
"""

import contextlib
import os
import socket
from collections.abc import MutableMapping
from typing import Final

from backfleet.values import value_object

VARIABLE: Final = "BACKFLEET_SIBLINGS"  # number:count:first descriptor
LOCKS: Final = 2


@value_object
class Siblings:
    """What one process has of it.

    Args:
        number: Of this process; 0 has the workers.
        inbox: Where this process receives.
        outboxes: Where it sends to each other process, by number.
        figures: A file in memory for each process, by number.
        locks: Two files to lock, opened by this process for itself.
        events: An eventfd for each of them.
    """

    number: int
    inbox: socket.socket
    outboxes: dict[int, socket.socket]
    figures: tuple[int, ...]
    locks: tuple[int, int]
    events: tuple[int, int]

    def close(self) -> None:
        """Let go of all of it."""
        for one in (self.inbox, *self.outboxes.values()):
            one.close()
        for descriptor in (*self.figures, *self.locks, *self.events):
            with contextlib.suppress(OSError):
                os.close(descriptor)


@value_object
class Shared:
    """All of it, as the parent holds it."""

    inboxes: tuple[tuple[socket.socket, socket.socket], ...]  # what the process reads, what the others write
    figures: tuple[int, ...]
    locks: tuple[int, ...]
    events: tuple[int, ...]

    @classmethod
    def make(cls, count: int) -> "Shared":
        """Make it for so many processes."""
        pairs = tuple(socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(count))
        figures = tuple(os.memfd_create(f"figures-{number}") for number in range(count))
        locks = tuple(os.memfd_create(f"turns-{number}") for number in range(LOCKS))
        return cls(pairs, figures, locks, tuple(_new_event() for _ in range(LOCKS)))

    def descriptors_of(self, number: int) -> list[int]:
        """Return what one process gets, in the order in which `inherited_siblings` expects it."""
        inboxes = [reading.fileno() for reading, _ in self.inboxes[number : number + 1]]
        return [*inboxes, *(writing.fileno() for _, writing in self.inboxes), *self.figures, *self.locks, *self.events]

    def close(self) -> None:
        """Let go of all of it."""
        for pair in self.inboxes:
            for one in pair:
                one.close()
        for descriptor in (*self.figures, *self.locks, *self.events):
            os.close(descriptor)


def inherited_siblings(environment: MutableMapping[str, str] = os.environ) -> Siblings | None:
    """Return what the parent handed over, or None if this process is the only one of its server.

    The variable is removed from the environment, so that processes we start do not take it for theirs.
    """
    value = environment.pop(VARIABLE, "")
    if not value:
        return None
    number, count, first = map(int, value.split(":"))
    descriptors = range(first, first + 1 + 2 * count + LOCKS)
    events = _events(descriptors.stop)
    for descriptor in (*descriptors, *events):
        os.set_inheritable(descriptor, False)
    inbox, *others = (socket.socket(fileno=descriptor) for descriptor in descriptors[: 1 + count])
    others.pop(number).close()
    numbers = [other for other in range(count) if other != number]
    # Opened anew: a lock belongs to what was opened, and the parent's is the same for all of its children.
    one, two = (_opened_anew(descriptor) for descriptor in descriptors[1 + 2 * count :])
    outboxes = dict(zip(numbers, others, strict=True))
    figures = tuple(descriptors[1 + count : 1 + 2 * count])
    return Siblings(number, inbox, outboxes, figures, (one, two), events)


def _events(first: int) -> tuple[int, int]:
    """Return the events, which begin at a descriptor.

    A parent that runs since before an upgrade hands none over: then two that nobody else sees, and those who wait look
    for their turn now and then.
    """
    found = (first, first + 1)
    if all(_is_event(descriptor) for descriptor in found):
        return found
    return _new_event(), _new_event()


def _is_event(descriptor: int) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}") == "anon_inode:[eventfd]"
    except FileNotFoundError:
        return False


def _new_event() -> int:
    return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)


def _opened_anew(descriptor: int) -> int:
    found = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
    os.close(descriptor)
    return found
