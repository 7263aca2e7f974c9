"""backfleet audit: who called what, and with which result."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from backfleet.cli._client import Client
from backfleet.cli._options import WholeNumber, calls_the_api, fail
from backfleet.cli._tables import Output, output_options
from backfleet.clock import utc_now

PAGE = 200
FORM = "%Y-%m-%dT%H:%M:%SZ"
UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@click.command()
@click.option(
    "--since",
    default="7d",
    show_default=True,
    metavar="WHEN",
    help="From this time on: 2026-01-02, or 30m, 8h, 7d ago.",
)
@click.option("--until", metavar="WHEN", help="Up to this time. Default: now.")
@click.option("--event", metavar="NAME", help="Only calls of this operation.")
@click.option("--user", metavar="NAME", help="Only calls of this user, `root`, or session (ROLE:SESSION).")
@click.option("--key", metavar="ID", help="Only calls with this access key.")
@click.option("--denied", is_flag=True, help="Only calls that policies denied.")
@click.option(
    "--limit", type=WholeNumber(1), default=100, show_default=True, help="The most calls to show. --jsonl shows all."
)
@output_options
@click.option("--jsonl", is_flag=True, help="Export: print every event as a line of JSON, oldest first.")
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
    output: Output,
    jsonl: bool,
) -> None:
    """Show the account's calls, newest first."""
    filters: dict[str, object] = {"StartTime": _moment(since), "EndTime": _moment(until) if until else None}
    attributes = {"EventName": event, "User": user, "EventAccessKeyId": key, "Verdict": "denied" if denied else None}
    for number, (name, value) in enumerate(((n, v) for n, v in attributes.items() if v is not None), 1):
        filters |= {f"LookupAttribute.{number}.Key": name, f"LookupAttribute.{number}.Value": value}
    if jsonl:
        for one in _events(client, filters | {"Direction": "FORWARD"}):
            click.echo(json.dumps(one, sort_keys=True))
        return
    found = [one for one, _ in zip(_events(client, filters), range(limit), strict=False)]
    output.show(("TIME (UTC)", "WHO", "FROM", "CALL", "RESULT"), [_row(one) for one in found], found)


def _events(client: Client, filters: dict[str, object]) -> Iterator[dict[str, Any]]:
    """Yield events page by page, so that only one page is in memory."""
    token: str | None = None
    while True:
        answer = client.call("backfleet", "LookupEvents", MaxResults=PAGE, NextToken=token, **filters)
        yield from answer["Events"]
        token = answer.get("NextToken")
        if token is None:
            return


def _row(event: dict[str, Any]) -> tuple[str, ...]:
    result = event.get("errorCode") or event["additionalEventData"]["verdict"]
    when = event["eventTime"].replace("T", " ").removesuffix("Z")
    return when, event["userIdentity"]["userName"], event["sourceIpAddress"], event["eventName"], result


def _moment(text: str) -> str:
    """Return a date, a time or a time span before now as the API takes it, in UTC."""
    if text.isascii() and text[:-1].isdigit() and text[-1:] in UNITS:
        return (utc_now() - timedelta(**{UNITS[text[-1]]: int(text[:-1])})).strftime(FORM)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{text!r} is not a time; write 2026-01-02, 2026-01-02T03:04:05Z, 30m, 8h or 7d")
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC).strftime(FORM)
