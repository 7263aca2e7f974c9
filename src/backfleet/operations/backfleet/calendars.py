"""Calendars of freezes: when no host is changed. Policies of rollouts name them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from backfleet import rollouts
from backfleet.operations.backfleet.rollouts.creating import TRIES
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.operations.hbr.answers import seconds
from backfleet.paging import Page
from backfleet.rollouts import CalendarRecord, Fault
from backfleet.storage import Conflict
from backfleet.values import value_object
from backfleet.wire.errors import ApiError, InvalidParameter, OperationConflict
from backfleet.wire.parameters import integer, repeat_objects, text
from backfleet_host.texts import counted

NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
CALENDAR: Final = {"Name": str, "Freezes": int, "UpdatedTime": int, "UpdatedBy": str}


class CalendarNotFound(ApiError):
    """The account has no calendar of this name."""

    code = "CalendarNotFound"
    status = 404

    def __init__(self) -> None:
        super().__init__("There is no calendar of this name in this account.")


class CalendarNotAccepted(ApiError):
    """The calendar has faults: all of them are in `Faults`, with line, key, what was found and what would do."""

    code = "CalendarNotAccepted"
    status = 400

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(
            f"The calendar has {counted(len(faults), 'fault')}; nothing was changed: " + "; ".join(map(str, faults)),
            extra={
                "Faults": [
                    {"Line": fault.line, "Key": fault.key, "Found": fault.found, "Wanted": fault.wanted}
                    for fault in faults
                ]
            },
        )


class CalendarInUse(ApiError):
    """A rollout that has not ended names the calendar."""

    code = "CalendarInUse"
    status = 409

    def __init__(self, rollout_id: str) -> None:
        super().__init__(
            f"Rollout {rollout_id} names this calendar and has not ended. Put a calendar without events, or wait."
        )


class QuotaExceeded(ApiError):
    """The account has as many calendars as it may."""

    code = "QuotaExceeded.Calendar"
    status = 409

    def __init__(self, most: str) -> None:
        super().__init__(f"The account has {most} calendars, as many as it may. Delete one.")


ERRORS: Final = (CalendarNotFound, CalendarNotAccepted, CalendarInUse, QuotaExceeded)


@value_object
class FreezeGiven:
    """No host is changed from Begin to before End: days (2026-12-24), or times with a zone or without."""

    summary: str = text("Summary", required=True, longest=200)
    begin: str = text("Begin", required=True, longest=40)
    end: str = text("End", required=True, longest=40)


@value_object
class PutCalendar:
    """A name, and an iCalendar text or a list of freezes."""

    name: str = text("Name", required=True, longest=64, pattern=NAME)
    ics: str | None = text("Ics", longest=rollouts.LONGEST_CALENDAR, raw=True)
    freezes: tuple[FreezeGiven, ...] = repeat_objects("Freezes", of=FreezeGiven, most=500)


@value_object
class OneCalendar:
    """A calendar."""

    name: str = text("Name", required=True, longest=64, pattern=NAME)


@value_object
class ListCalendars:
    """A page."""

    page_number: int = integer("PageNumber", default=1, least=1, most=1_000_000)
    page_size: int = integer("PageSize", default=50, least=1, most=200)


def every_calendar(call: Call, asked: Any) -> list[str]:
    """Return the ARN of an account's calendars."""
    return [f"acs:backfleet:{call.region}:{call.account_id}:calendar/*"]


def one_calendar(call: Call, asked: Any) -> list[str]:
    """Return the ARN of the calendar that a request names."""
    return [f"acs:backfleet:{call.region}:{call.account_id}:calendar/{asked.name}"]


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except rollouts.CalendarRefused as problem:
        raise CalendarNotAccepted(problem.faults) from None
    except rollouts.CalendarMissing:
        raise CalendarNotFound from None
    except rollouts.CalendarInUse as problem:
        raise CalendarInUse(str(problem)) from None
    except rollouts.TooManyCalendars as problem:
        raise QuotaExceeded(str(problem)) from None


def _answer(record: CalendarRecord) -> dict[str, Any]:
    return {
        "Name": record.name,
        "Freezes": record.freezes,
        "UpdatedTime": seconds(record.updated_at),
        "UpdatedBy": record.updated_by,
    }


@operation(
    BACKFLEET,
    "PutCalendar",
    action="backfleet:PutCalendar",
    resources=one_calendar,
    answer={**CALENDAR, "Created": bool},
    errors=(*ERRORS, OperationConflict),
)
def put_calendar(call: Call, asked: PutCalendar) -> dict[str, Any]:
    """Store a calendar in place of the one of its name. Rollouts that run heed it at once.

    Events that are transparent or cancelled freeze nothing. One with faults is refused as a whole, with all of them.

    Raises:
        ApiError: as `_refusals`; InvalidParameter where text and freezes are both given, or neither is.
    """
    if (asked.ics is None) is not bool(asked.freezes):
        raise InvalidParameter("Give `Ics` or `Freezes`, one of them.")
    for _ in range(TRIES):
        try:
            with _refusals(), call.services.database.transaction() as tx:
                given = [(each.summary, each.begin, each.end) for each in asked.freezes]
                ics = rollouts.as_calendar(given) if asked.ics is None else asked.ics
                record, is_new = rollouts.put_calendar(tx, call.caller, asked.name, ics, now=call.now)
            return {**_answer(record), "Created": is_new}
        except Conflict:
            continue
    raise OperationConflict("Another call is storing the same calendar. Send the request again.")


@operation(
    BACKFLEET,
    "ListCalendars",
    action="backfleet:ListCalendars",
    resources=every_calendar,
    answer={"Calendars": [CALENDAR], "PageNumber": int, "PageSize": int, "TotalCount": int},
)
def list_calendars(call: Call, asked: ListCalendars) -> dict[str, Any]:
    """List the account's calendars by name."""
    with call.services.database.reading() as tx:
        found = rollouts.calendars(tx, call.account_id, Page(asked.page_number, asked.page_size))
    return {
        "Calendars": [_answer(record) for record in found.items],
        "PageNumber": asked.page_number,
        "PageSize": asked.page_size,
        "TotalCount": found.total,
    }


@operation(
    BACKFLEET,
    "DescribeCalendar",
    action="backfleet:DescribeCalendar",
    resources=one_calendar,
    answer={**CALENDAR, "Ics": str},
    errors=(CalendarNotFound,),
)
def describe_calendar(call: Call, asked: OneCalendar) -> dict[str, Any]:
    """Return a calendar with its text (iCalendar)."""
    with _refusals(), call.services.database.reading() as tx:
        record = rollouts.calendar(tx, call.account_id, asked.name)
    return {**_answer(record), "Ics": record.text}


@operation(
    BACKFLEET,
    "DeleteCalendar",
    action="backfleet:DeleteCalendar",
    resources=one_calendar,
    answer={},
    errors=(CalendarNotFound, CalendarInUse),
)
def delete_calendar(call: Call, asked: OneCalendar) -> dict[str, Any]:
    """Delete a calendar that no unfinished rollout names."""
    with _refusals(), call.services.database.transaction() as tx:
        rollouts.delete_calendar(tx, call.account_id, asked.name)
    return {}
