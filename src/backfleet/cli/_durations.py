"""Durations and moments on the command line: `30m`, `12h`, `7d`; a day or a moment in ISO 8601."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION: Final = re.compile(r"([0-9]{1,7})([smhdw])")


def seconds_of(text: str) -> int | None:
    """Return a duration such as 7d in seconds; None if the text is none."""
    found = _DURATION.fullmatch(text)
    return int(found[1]) * _UNITS[found[2]] if found else None


class Duration(click.ParamType[int]):
    """A duration -> seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return it in seconds. Raises BadParameter."""
        if isinstance(value, int):
            return value
        found = seconds_of(value)
        if found is None:
            self.fail(f"{value!r} is no duration; write 30m, 12h or 7d", param, ctx)
        return found


class Moment(click.ParamType[str]):
    """A day, a moment, or a duration from now on -> ISO 8601."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it as the API takes it. Raises BadParameter."""
        seconds = seconds_of(value)
        if seconds is not None:
            return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="seconds")
        try:
            datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no day (2026-12-31), moment (2026-12-31T06:00:00Z) or duration (30d)", param, ctx)
        return str(value)
