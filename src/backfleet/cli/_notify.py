"""backfleet notify: where people are notified, and what became of each message."""

from pathlib import Path

import click

from backfleet.cli._client import Client
from backfleet.cli._options import Done, calls_the_api, json_option, prints_the_answer, read_text
from backfleet.cli._print import moment, print_json, say
from backfleet.cli._tables import Output, output_options

PAGE = 200  # the API's maximum


@click.group()
def notify() -> None:
    """Notifications: webhooks and mail about what somebody should look at."""


@notify.command()
@click.argument("name")
@click.option("--url", help="a webhook; `outbound_allowed` in the server's settings must allow it")
@click.option("--mail", help="a mail address")
@click.option("--kind", "kinds", multiple=True, help="only this kind, such as rollout.halted; may be repeated")
@click.option("--quiet", "quiet_hours", default="", help="hours without messages: '22:00-07:00 Europe/Berlin'")
@click.option(
    "--secret-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="a file with the webhook's secret, whsec_...; without it one is made and shown once",
)
@json_option
@calls_the_api
def add(
    api: Client,
    name: str,
    url: str | None,
    mail: str | None,
    kinds: tuple[str, ...],
    quiet_hours: str,
    secret_file: Path | None,
    as_json: bool,
) -> None:
    """Add a destination, or replace the one of its name."""
    if (url is None) is (mail is None):
        raise click.UsageError("give --url or --mail; a program is set as `notify_program` in the server's settings")
    given: dict[str, object] = {"Name": name, "QuietHours": quiet_hours}
    given |= {"Url": url} if url else {}
    given |= {"Mail": mail} if mail else {}
    given |= {f"Kinds.{number}": kind for number, kind in enumerate(kinds, 1)}
    given |= {"Secret": read_text(secret_file).strip()} if secret_file else {}
    found = api.call("backfleet", "PutNotificationDestination", **given)
    if as_json:
        print_json(found)
        return
    say(f"destination {name} {'added' if found['Created'] else 'replaced'}: {found['Way']} {found['Address']}")
    if found.get("Secret"):
        say(f"its secret, shown only now: {found['Secret']}")
    for warning in found.get("Warnings", ()):
        say(f"warning: {warning}", err=True)
    say(f"send a test: backfleet notify test {name}")


@notify.command("list")
@output_options
@calls_the_api
def list_(api: Client, output: Output) -> None:
    """List the destinations."""
    found = api.call("backfleet", "ListNotificationDestinations")
    rows = [
        (each["Name"], each["Way"], each["Address"], ", ".join(each["Kinds"]) or "all", each["QuietHours"])
        for each in found["Destinations"]
    ]
    output.show(("NAME", "WAY", "ADDRESS", "KINDS", "QUIET HOURS"), rows, found)


@notify.command()
@click.option("--destination", help="of this destination only")
@output_options
@calls_the_api
def log(api: Client, destination: str | None, output: Output) -> None:
    """List the newest messages, and what became of each."""
    given = {"Destination": destination} if destination else {}
    found = api.call("backfleet", "ListNotifications", PageSize=PAGE, **given)
    rows = [
        (
            each["NotificationId"],
            moment(each["CreatedTime"]),
            each["Destination"],
            each["State"],
            each["Subject"],
            each["Problem"],
        )
        for each in found["Notifications"]
    ]
    output.show(("ID", "TIME", "DESTINATION", "STATE", "SUBJECT", "PROBLEM"), rows, found)


@notify.command()
@click.argument("name")
@json_option
@calls_the_api
def test(api: Client, name: str, as_json: bool) -> None:
    """Send a test to a destination, also in its quiet hours."""
    found = api.call("backfleet", "TestNotificationDestination", Name=name)
    if as_json:
        print_json(found)
        return
    say(f"test {found['NotificationId']} is on its way; what became of it: backfleet notify log --destination {name}")


@notify.command()
@click.argument("notification_id")
@json_option
@calls_the_api
def replay(api: Client, notification_id: str, as_json: bool) -> None:
    """Send a message again, with its id."""
    found = api.call("backfleet", "ReplayNotification", NotificationId=notification_id)
    if as_json:
        print_json(found)
        return
    say(f"{notification_id} is sent to {found['Destination']} again")


@notify.command()
@click.argument("name")
@prints_the_answer
@calls_the_api
def remove(api: Client, name: str) -> Done:
    """Remove a destination. What still waits for it is given up."""
    return api.call("backfleet", "DeleteNotificationDestination", Name=name), f"destination {name} removed"
