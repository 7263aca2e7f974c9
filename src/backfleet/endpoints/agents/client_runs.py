"""Runs of clients, as our own agent reports them. The same run may come any number of times."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from backfleet import backups
from backfleet.backups import ReportedRun
from backfleet.storage import Transaction
from backfleet_host.layout import PACKAGE, VERSION
from backfleet_host.texts import printable

PATH: Final = "/api/backfleet/runs"
MOST_AT_ONCE: Final = 100  # further ones are left out: no agent of ours sends them
_ID: Final = re.compile(r"[0-9a-f]{32}")
_PACKAGE, _VERSION = re.compile(PACKAGE), re.compile(VERSION)
_RESULTS: Final = ("", backups.SUCCEEDED, backups.FAILED, backups.UNKNOWN)
_LONGEST_TEXT: Final = 64  # characters


def store_runs(tx: Transaction, instance_id: str, body: bytes, now: datetime) -> dict[str, Any]:
    """Store the runs of an instance's clients. What is not of its form is left out: it would not get better."""
    try:
        sent = json.loads(body)
        ahead = timedelta(milliseconds=_whole(sent["now"])) + datetime(1970, 1, 1, tzinfo=UTC) - now
        entries = list(sent["runs"])[:MOST_AT_ONCE]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return {"errCode": "InvalidRuns", "errMsg": "expected now and runs"}
    found = [run for each in entries if (run := _read(each, ahead, now)) is not None]
    return {"errCode": "", "result": {"Stored": backups.note_runs(tx, instance_id, found, now=now)}}


def _read(sent: Any, ahead: timedelta, now: datetime) -> ReportedRun | None:
    """Return a run, with times by our clock: the host's was `ahead` when it sent it. None if it is of another form."""
    try:
        named = {name: str(sent[name]) for name in ("id", "package", "version", "result", "user", "caller")}
        fits = _ID.fullmatch(named["id"]) and _PACKAGE.fullmatch(named["package"])
        if not fits or not _VERSION.fullmatch(named["version"]) or named["result"] not in _RESULTS:
            return None
        ended, code = sent["ended"], sent["code"]
        return ReportedRun(
            id=named["id"],
            package=named["package"],
            version=named["version"],
            begun_at=_moment(sent["begun"], ahead, now),
            ended_at=None if ended is None else _moment(ended, ahead, now),
            result=named["result"],
            code=None if code is None else max(-256, min(_whole(code), 256)),
            user=printable(named["user"][:_LONGEST_TEXT])[:_LONGEST_TEXT],
            caller=printable(named["caller"][:_LONGEST_TEXT])[:_LONGEST_TEXT],
            is_backup=sent["backup"] is True,
        )
    except (ValueError, TypeError, KeyError, OverflowError):
        return None


def _moment(milliseconds: Any, ahead: timedelta, now: datetime) -> datetime:
    """Return a time of the host by our clock; never one in our future."""
    return min(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=_whole(milliseconds)) - ahead, now)


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no whole number")
    return value
