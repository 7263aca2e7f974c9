"""How far a refresh of a cloud account is, and what it asks next: decided on values.

A refresh reads streams: the list of each import, page by page, and the instances of each region, 50 at a time. Only the
call that failed is made again, and the stream that failed least comes first: a region out of reach keeps no other from
being read. A stream that fails MOST_FAILURES times in a row is given up until the next refresh, so each one ends.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, field, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from backfleet.carriers.ecs.model import CloudInstance
from backfleet.values import value_object

MOST_FAILURES: Final = 8  # of one stream in a row
MOST_PAGES: Final = 200  # of one import
LISTED_FOR: Final = timedelta(minutes=2)  # how long a list may be old when the agents in it are asked about
LONGEST_TEXT: Final = 1024 * 1024  # characters that are stored of a refresh that is under way


@value_object
class Stream:
    """How far one list is read. The first fields are an import's, the others a region's.

    `asked` are the instances that the last answer was about, until each of them is judged.
    """

    failures: int = 0  # in a row
    is_over: bool = False  # read to its end, refused, or given up
    is_unsure: bool = False  # nothing was listed: that may be a permission that is missing
    part: int = 0  # of the named instances, 50 each
    token: str = ""  # of the next page; "" = the first
    pages: int = 0
    found: int = 0
    present: tuple[str, ...] = ()  # of the named instances
    elsewhere: str = ""  # which instances another cloud account reaches, as a text
    has_begun_again: bool = False  # its token was not taken any more
    asked: tuple[str, ...] = ()
    listed: tuple[CloudInstance, ...] = ()  # those of them that run
    listed_at: datetime | None = None


@value_object
class Progress:
    """A refresh that is under way. Streams are named `import/ID` and `region/NAME`."""

    began_at: datetime
    streams: Mapping[str, Stream] = field(default_factory=lambda: MappingProxyType({}))
    problem: tuple[str, str] = ("", "")  # the last refusal: our code, and the text
    vouched_at: datetime | None = None  # when the newest word about instances was last made to count longer

    def of(self, name: str) -> Stream:
        """Return a stream, which begins with the first question about it."""
        return self.streams.get(name, Stream())

    def having(self, name: str, stream: Stream) -> "Progress":
        """Return the progress with this stream in it."""
        return replace(self, streams={**self.streams, name: stream})


def next_stream(progress: Progress, imports: Collection[str], regions: Collection[str]) -> str | None:
    """Return the stream that is asked about next; None if the refresh is over.

    Args:
        progress: of the refresh.
        imports: the ids of all imports.
        regions: those with instances that were not asked about in this refresh.
    """
    names = [f"import/{each}" for each in imports] + [f"region/{each}" for each in sorted(regions)]
    open_ones = [each for each in names if not progress.of(each).is_over]
    return min(open_ones, key=lambda name: progress.of(name).failures, default=None)


def failed(progress: Progress, name: str, problem: tuple[str, str]) -> Progress:
    """Return the progress after a call without an answer: what was read stays read."""
    stream = progress.of(name)
    is_over = stream.failures + 1 >= MOST_FAILURES
    after = progress.having(name, replace(stream, failures=stream.failures + 1, is_over=is_over))
    return replace(after, problem=problem) if is_over else after


def refused(progress: Progress, name: str, problem: tuple[str, str]) -> Progress:
    """Return the progress after a refusal, which the same question would meet again."""
    return replace(progress.having(name, replace(progress.of(name), is_over=True)), problem=problem)


def page_read(stream: Stream, found: Collection[str], following: str, parts: int) -> Stream:
    """Return an import's stream after a page of it.

    Args:
        stream: before it.
        found: the ids on the page.
        following: the token of the next page; "" if that was the last one.
        parts: how many times 50 instances are named; 1 if none is.
    """
    after = replace(stream, failures=0, pages=stream.pages + 1, found=stream.found + len(found), token=following)
    if following:
        return after
    after = replace(after, part=stream.part + 1)
    if after.part < parts:
        return after
    return replace(after, is_unsure=not after.found, is_over=bool(after.found))


def permission_is_there(stream: Stream) -> Stream:
    """Return a stream after it turned out that an empty list is no missing permission."""
    return replace(stream, failures=0, is_unsure=False, is_over=not stream.asked)


def begun_again(stream: Stream) -> Stream | None:
    """Return an import's stream from its start, after its token was refused; None if that does not help."""
    if not stream.token or stream.has_begun_again:
        return None
    return Stream(has_begun_again=True)


def instances_listed(stream: Stream, asked: tuple[str, ...], running: tuple[CloudInstance, ...], *, found: int,
                     now: datetime) -> Stream:  # fmt: skip
    """Return a region's stream after some of its instances were asked about."""
    return replace(stream, failures=0, asked=asked, listed=running, listed_at=now, is_unsure=not found)


def all_judged(stream: Stream) -> Stream:
    """Return a region's stream after everything is known of the instances that were asked about."""
    return replace(stream, failures=0, asked=(), listed=(), listed_at=None, is_unsure=False)


def is_stale(stream: Stream, now: datetime) -> bool:
    """Return whether a region's list is too old to go on with."""
    return stream.listed_at is not None and not timedelta(0) <= now - stream.listed_at <= LISTED_FOR


def as_text(progress: Progress) -> str:
    """Return a progress as it is stored; "" if it is too long: the refresh begins again then."""
    text = json.dumps(
        {
            "began_at": progress.began_at.timestamp(),
            "streams": {name: _row(stream) for name, stream in progress.streams.items()},
            "problem": progress.problem,
            "vouched_at": progress.vouched_at.timestamp() if progress.vouched_at else None,
        }
    )
    return text if len(text) <= LONGEST_TEXT else ""


def from_text(text: str) -> Progress | None:
    """Return a stored progress; None if there is none, or it is of another version of this program."""
    try:
        found = json.loads(text)
        streams = {name: _stream(row) for name, row in found["streams"].items()}
        vouched_at = _moment(found["vouched_at"])
        began_at = datetime.fromtimestamp(found["began_at"], UTC)
        return Progress(began_at, streams, tuple(found["problem"]), vouched_at)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _row(stream: Stream) -> dict[str, Any]:
    defaults = asdict(Stream())
    row = {name: value for name, value in asdict(stream).items() if value != defaults[name]}
    return row | ({"listed_at": stream.listed_at.timestamp()} if stream.listed_at else {})


def _stream(row: dict[str, Any]) -> Stream:
    listed = tuple(CloudInstance(**each) for each in row.get("listed", ()))
    given = {**row, "listed": listed, "listed_at": _moment(row.get("listed_at"))}
    return Stream(**{**given, **{name: tuple(row.get(name, ())) for name in ("present", "asked")}})


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
