"""backfleet calendar: times of which no host is changed, as iCalendar files."""

from pathlib import Path

import click

from backfleet.cli._client import CallFailed, Client
from backfleet.cli._options import (
    Done,
    calls_the_api,
    fail,
    json_option,
    print_faults,
    prints_the_answer,
    read_text,
)
from backfleet.cli._print import moment, print_json, say
from backfleet.cli._tables import Output, output_options
from backfleet_host.texts import counted, printable

PAGE = 200  # the API's maximum


@click.group()
def calendar() -> None:
    """Calendars of freezes: holidays and change freezes, which the policies of rollouts name."""


@calendar.command()
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@calls_the_api
def put(api: Client, name: str, file: Path, as_json: bool) -> None:
    """Store an .ics file under a name, in place of the one before. Rollouts that run heed it at once."""
    try:
        found = api.call("backfleet", "PutCalendar", Name=name, Ics=read_text(file, "a calendar"))
    except CallFailed as problem:
        faults = problem.answer.get("Faults")
        if not faults:
            raise
        print_faults(faults, file)
        fail(
            f"the calendar in {file} is refused: {counted(len(faults), 'fault')}; nothing was changed",
            code=str(problem.answer.get("Code", "")), requestId=problem.answer.get("RequestId", ""), faults=faults,
        )  # fmt: skip
    if as_json:
        print_json(found)
        return
    say(f"calendar {name} {'stored' if found['Created'] else 'replaced'}: {found['Freezes']} freezes")


@calendar.command("list")
@output_options
@calls_the_api
def list_(api: Client, output: Output) -> None:
    """List the calendars."""
    found = api.call("backfleet", "ListCalendars", PageSize=PAGE)
    rows = [
        (each["Name"], each["Freezes"], moment(each["UpdatedTime"]), each["UpdatedBy"]) for each in found["Calendars"]
    ]
    output.show(("NAME", "FREEZES", "UPDATED", "BY"), rows, found)


@calendar.command()
@click.argument("name")
@json_option
@calls_the_api
def show(api: Client, name: str, as_json: bool) -> None:
    """Print a calendar, as an .ics file."""
    found = api.call("backfleet", "DescribeCalendar", Name=name)
    if as_json:
        print_json(found)
        return
    for line in found["Ics"].splitlines():
        say(printable(line))


@calendar.command()
@click.argument("name")
@prints_the_answer
@calls_the_api
def delete(api: Client, name: str) -> Done:
    """Delete a calendar that no unfinished rollout names."""
    return api.call("backfleet", "DeleteCalendar", Name=name), f"calendar {name} deleted"
