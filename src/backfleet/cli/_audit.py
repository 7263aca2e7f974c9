"""backfleet audit: who asked for what, and how it ended."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from backfleet.cli._client import Client
from backfleet.cli._options import calls_the_api, fail
from backfleet.cli._print import print_json, print_table
from backfleet.clock import utc_now

PAGE = 200
FORM = "%Y-%m-%dT%H:%M:%SZ"
UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@click.command()
@click.option(
    "--since", default="7d", show_default=True, metavar="WHEN", help="A time such as 2026-01-02, or 30m, 8h, 7d ago."
)
@click.option("--until", metavar="WHEN", help="Likewise; default: now.")
@click.option("--event", metavar="NAME", help="Calls of one operation.")
@click.option("--user", metavar="NAME", help="Calls of one user, `root`, or one session (ROLE:SESSION).")
@click.option("--key", metavar="ID", help="Calls with one access key.")
@click.option("--denied", is_flag=True, help="Calls that no policy allowed.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="How many; not with --jsonl.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--jsonl", is_flag=True, help="Print every event as a line of JSON, the oldest first: to export.")
@calls_the_api
def audit(
    client: Client,
    since: str,
    until: str | None,
    event: str | None,
    user: str | None,
    key: str | None,
    denied: bool,
    limit: int,
    as_json: bool,
    jsonl: bool,
) -> None:
    """The account's calls, the last one first."""
    wanted: dict[str, object] = {"StartTime": _moment(since), "EndTime": _moment(until) if until else None}
    asked = {"EventName": event, "User": user, "EventAccessKeyId": key, "Verdict": "denied" if denied else None}
    for number, (name, value) in enumerate(((n, v) for n, v in asked.items() if v is not None), 1):
        wanted |= {f"LookupAttribute.{number}.Key": name, f"LookupAttribute.{number}.Value": value}
    if jsonl:
        for one in _events(client, wanted | {"Direction": "FORWARD"}):
            click.echo(json.dumps(one, sort_keys=True))
        return
    found = [one for one, _ in zip(_events(client, wanted), range(limit), strict=False)]
    if as_json:
        print_json(found)
        return
    print_table(("TIME (UTC)", "WHO", "FROM", "CALL", "RESULT"), [_row(one) for one in found])


def _events(client: Client, wanted: dict[str, object]) -> Iterator[dict[str, Any]]:
    """Page by page: nothing is held but one page."""
    token: str | None = None
    while True:
        answer = client.call("backfleet", "LookupEvents", MaxResults=PAGE, NextToken=token, **wanted)
        yield from answer["Events"]
        token = answer.get("NextToken")
        if token is None:
            return


def _row(event: dict[str, Any]) -> tuple[str, ...]:
    result = event.get("errorCode") or event["additionalEventData"]["verdict"]
    when = event["eventTime"].replace("T", " ").removesuffix("Z")
    return when, event["userIdentity"]["userName"], event["sourceIpAddress"], event["eventName"], result


def _moment(said: str) -> str:
    """A time in UTC as the API takes it, from a date, a time, or a span before now."""
    if said[:-1].isdigit() and said[-1:] in UNITS:
        return (utc_now() - timedelta(**{UNITS[said[-1]]: int(said[:-1])})).strftime(FORM)
    try:
        found = datetime.fromisoformat(said)
    except ValueError:
        fail(f"{said!r} is no time; say 2026-01-02, 2026-01-02T03:04:05Z, 30m, 8h or 7d")
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC).strftime(FORM)
