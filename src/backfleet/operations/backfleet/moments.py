"""Moments that callers write."""

from datetime import UTC, datetime

from backfleet.wire.errors import InvalidParameter


def moment_of(name: str, given: str) -> datetime:
    """Return the moment that the value of a parameter names: a day or a moment in ISO 8601, UTC unless it says more.

    Raises:
        InvalidParameter: it names none.
    """
    try:
        found = datetime.fromisoformat(given)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):  # the zone takes a moment of the first or the last year out of the calendar
        raise InvalidParameter(
            f"{name} is {given!r}; write a day (2026-12-31) or a moment (2026-12-31T06:00:00Z)."
        ) from None
