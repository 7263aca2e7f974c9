"""LookupEvents: the account's audit trail."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from backfleet.operations import _store as audit
from backfleet.operations import audit_event
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.values import value_object
from backfleet.wire.errors import InvalidParameter, MissingParameter
from backfleet.wire.parameters import integer, repeat_objects, text
from backfleet.wire.shapes import Anything, Maybe

TIME: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"
FORM: Final = "%Y-%m-%dT%H:%M:%SZ"
DEFAULT_WINDOW: Final = timedelta(days=7)
ATTRIBUTES: Final = {
    "EventName": "action",
    "ServiceName": "product",
    "User": "user_name",
    "EventAccessKeyId": "access_key_id",
    "EventId": "request_id",
    "EventRW": "writes",
    "ErrorCode": "error_code",
    "Verdict": "verdict",
}
BACKWARD, FORWARD = "BACKWARD", "FORWARD"


@value_object
class Attribute:
    """A value that an event must have."""

    key: str | None = text("Key", longest=64)
    value: str | None = text("Value", longest=128)


@value_object
class LookupEvents:
    """A time window, filters, and a part of the list."""

    start: str | None = text("StartTime", pattern=TIME)
    end: str | None = text("EndTime", pattern=TIME)
    attributes: tuple[Attribute, ...] = repeat_objects("LookupAttribute", of=Attribute, most=8)
    most: int = integer("MaxResults", default=20, least=1, most=200)
    token: str | None = text("NextToken", longest=256)
    direction: str = text("Direction", default=BACKWARD, choices=(BACKWARD, FORWARD))


@operation(
    BACKFLEET,
    "LookupEvents",
    action="backfleet:LookupEvents",
    answer={"StartTime": str, "EndTime": str, "Events": Anything, "NextToken": Maybe(str)},
)
def lookup_events(call: Call, asked: LookupEvents) -> dict[str, Any]:
    """List the account's calls, newest first unless asked otherwise; those of a week unless a time is given."""
    end = _moment("EndTime", asked.end) if asked.end else call.now + timedelta(seconds=1)
    start = _moment("StartTime", asked.start) if asked.start else _week_before(end)
    wanted = audit.EventFilter(call.account_id, start, end, _columns(asked), asked.direction == BACKWARD)
    with call.services.database.reading() as tx:
        found = audit.events(tx, wanted, after=_place(asked.token), limit=asked.most + 1)
    part = found[: asked.most]
    more = {"NextToken": _token(part[-1])} if len(found) > asked.most else {}
    return {
        "StartTime": _shown(start),
        "EndTime": _shown(end),
        "Events": [audit_event.shown(event) for event in part],
        **more,
    }


def _week_before(end: datetime) -> datetime:
    first = datetime.min.replace(tzinfo=UTC)
    return end - min(DEFAULT_WINDOW, end - first)


def _shown(moment: datetime) -> str:
    """Return a moment in UTC as it is asked for: strftime writes the year 1 with one digit."""
    return moment.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _moment(name: str, value: str) -> datetime:
    try:
        if not value.isascii():
            raise ValueError  # strptime takes the digits of every script
        return datetime.strptime(value, FORM).replace(tzinfo=UTC)
    except ValueError:
        raise InvalidParameter(f"{name} is {value!r}; it must be a time such as 2026-01-02T03:04:05Z.") from None


def _columns(asked: LookupEvents) -> dict[str, str]:
    """Return the columns that a request filters by, and their values.

    Raises:
        MissingParameter: an attribute has no key or no value.
        InvalidParameter: events have no such attribute.
    """
    columns = {}
    for number, one in enumerate(asked.attributes, 1):
        if one.key is None or one.value is None:
            raise MissingParameter(f"LookupAttribute.{number}.{'Key' if one.key is None else 'Value'}")
        if one.key not in ATTRIBUTES:
            keys = ", ".join(ATTRIBUTES)
            raise InvalidParameter(f"LookupAttribute.{number}.Key is {one.key!r}; it must be one of {keys}.")
        columns[ATTRIBUTES[one.key]] = _value(one.key, one.value)
    return columns


def _value(key: str, value: str) -> str:
    if key == "ServiceName":
        return value.lower()
    return {"Write": "1", "Read": "0"}.get(value, value) if key == "EventRW" else value


def _token(last: audit_event.AuditEvent) -> str:
    """Return the token of the next part: the place of the last event, as new events would shift an offset."""
    place = f"{round(last.at.timestamp() * 1000)} {last.request_id}"
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def _place(token: str | None) -> tuple[datetime, str] | None:
    if token is None:
        return None
    try:
        place = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("ascii")
        millis, _, request_id = place.partition(" ")
        return datetime.fromtimestamp(int(millis) / 1000, UTC), request_id[:64]
    except (ValueError, OverflowError, OSError):
        raise InvalidParameter("NextToken is not one that LookupEvents returned.") from None
