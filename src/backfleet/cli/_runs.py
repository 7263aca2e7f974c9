"""backfleet client runs: the ledger of backups."""

from typing import Any

import click

from backfleet.cli._client import Client
from backfleet.cli._options import WholeNumber, calls_the_api
from backfleet.cli._print import moment, say
from backfleet.cli._tables import Output, output_options
from backfleet.cli._targets import instance_id_of


@click.command()
@click.option("--client", "client_id", metavar="ID", help="Only of this client.")
@click.option("--instance", metavar="HOST", help="Only on this host, by id or name.")
@click.option("--package", help="Only of this package.")
@click.option("--version", help="Only of this version.")
@click.option(
    "--result", type=click.Choice(["running", "succeeded", "failed", "unknown"]), help="Only with this result."
)
@click.option("--backups", "only_backups", is_flag=True, help="Only runs that make a backup.")
@click.option("--overdue", is_flag=True, help="Instead: clients whose next backup did not begin when it usually does.")
@click.option("--page", type=WholeNumber(1), default=1, show_default=True)
@output_options
@calls_the_api
def runs(
    api: Client,
    client_id: str | None,
    instance: str | None,
    package: str | None,
    version: str | None,
    result: str | None,
    only_backups: bool,
    overdue: bool,
    page: int,
    output: Output,
) -> None:
    """List the runs of clients, newest first, with how they ended. Hosts report them within seconds.

    READABLE BY is the lowest version known to read a backup: restore it with that version, or with a newer one.
    """
    instance_id = None if instance is None else instance_id_of(api, instance)
    named = {"ClientId": client_id, "InstanceId": instance_id, "PackageName": package, "ClientVersion": version}
    flags = {"OnlyBackups": True} if only_backups else {}
    found = api.call("backfleet", "ListRuns", **named, Result=result, PageNumber=page, **flags)
    if overdue:
        _show_overdue(found, output)
        return
    output.show(
        ("STARTED", "SECONDS", "CLIENT", "PACKAGE", "VERSION", "RESULT", "BACKUP", "READABLE BY", "USER", "CALLER"),
        [_row(run) for run in found["Runs"]],
        found,
    )
    if found["OverdueCount"] and output.form == "table":
        say(f"{found['OverdueCount']} client(s) are overdue: see --overdue")


def _row(run: dict[str, Any]) -> list[object]:
    code = run.get("ExitCode", 0)
    result = f"{run['Result']} ({code})" if code else run["Result"]
    return [
        moment(run["StartTime"]),
        run.get("DurationSeconds", ""),
        run["ClientId"],
        run["PackageName"],
        run["ClientVersion"],
        result,
        "yes" if run["IsBackup"] else "no",
        run.get("ReadableBy", ""),
        run["User"],
        run["Caller"],
    ]


def _show_overdue(found: dict[str, Any], output: Output) -> None:
    output.show(
        ("CLIENT", "LAST BEGAN", "USUALLY EVERY", "EXPECTED BY"),
        [
            (each["ClientId"], moment(each["LastStartTime"]), _span(each["UsualSeconds"]), moment(each["ExpectedTime"]))
            for each in found["Overdue"]
        ],
        found["Overdue"],
    )
    more = found["OverdueCount"] - len(found["Overdue"])
    if more > 0 and output.form == "table":
        say(f"and {more} more")


def _span(seconds: int) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"
