"""What tells open pages that something changed: server-sent events without facts, over notifications.

A stream says which family of things changed, at most once a second, and the page fetches itself again. Notifications
may be lost, so pages also do that by themselves from time to time.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final

from backfleet.pubsub import PubSub
from backfleet.values import value_object

FAMILIES: Final = ("rollouts", "upgrades")
MOST_STREAMS: Final = 1000  # of one process
MOST_STREAMS_OF_ACCOUNT: Final = 500
MOST_STREAMS_EACH: Final = 20  # of one person; the oldest one ends when another begins
MOST_UNREAD: Final = 16 * 1024  # bytes that wait for a page which does not read; hours of changes
AT_MOST_EVERY_SECONDS: Final = 1.0
ALIVE_SECONDS: Final = 15.0  # between two looks at session and permission, and comments that keep proxies from closing


class Full(Exception):
    """There are as many streams as there may be."""


@value_object
class Owner:
    """Whose page a stream is for."""

    account: str
    person: str  # their ARN
    login: str  # what the forms of the session have in common; not what opens it


class Stream:
    """What changed since it was last written to one page."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.is_one_too_many = False  # its person has opened MOST_STREAMS_EACH newer ones
        self.is_doubtful = True  # the session is looked at before anything else is written
        self._changed: set[str] = set()
        self._noted = asyncio.Event()

    def note(self, family: str) -> None:
        """Note a change. Called in the event loop."""
        self._changed.add(family)
        self._noted.set()

    def wake(self) -> None:
        """End the wait without a change."""
        self._noted.set()

    async def wait(self) -> set[str]:
        """Wait for changes, at most ALIVE_SECONDS, and return their families; none if nothing changed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ALIVE_SECONDS):
                await self._noted.wait()
        self._noted.clear()
        found, self._changed = self._changed, set()
        return found


class Changes:
    """Passes notifications on to the streams of this process."""

    def __init__(self, pubsub: PubSub) -> None:
        self._pubsub = pubsub
        self._streams: dict[Stream, None] = {}  # the oldest first
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unsubscribe: list[Callable[[], None]] = []

    async def begin(self) -> None:
        """Listen to notifications."""
        self._loop = asyncio.get_running_loop()
        self._unsubscribe = [self._pubsub.subscribe(family, self._notified) for family in FAMILIES]

    async def end(self) -> None:
        """Listen no more, and end every stream."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._loop = None
        for stream in self._streams:
            stream.wake()

    @property
    def is_over(self) -> bool:
        """Whether the server stops."""
        return self._loop is None

    @contextlib.contextmanager
    def stream(self, owner: Owner) -> Iterator[Stream]:
        """Open a stream for one page. A person who has many loses the oldest one, which a closed page may have left.

        Raises:
            Full: everybody together has too many, or the account.
        """
        others = [stream for stream in self._streams if not stream.is_one_too_many]
        mine = [stream for stream in others if stream.owner.person == owner.person]
        if len(mine) >= MOST_STREAMS_EACH:
            mine[0].is_one_too_many = True
            mine[0].wake()
        elif sum(stream.owner.account == owner.account for stream in others) >= MOST_STREAMS_OF_ACCOUNT:
            raise Full
        if len(self._streams) >= MOST_STREAMS:
            raise Full
        made = Stream(owner)
        self._streams[made] = None
        try:
            yield made
        finally:
            del self._streams[made]

    def check_again(self, login: str) -> None:
        """Have the streams of a login that has ended look at their session at once."""
        for stream in self._streams:
            if stream.owner.login == login:
                stream.is_doubtful = True
                stream.wake()

    def _notified(self, topic: str) -> None:
        loop = self._loop
        if loop is None or not self._streams:
            return
        family = next(family for family in FAMILIES if topic.startswith(family))
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(self._pass_on, family)

    def _pass_on(self, family: str) -> None:
        for stream in self._streams:
            stream.note(family)
