"""backfleet rollout simulate: how a policy would go, on the fleet as it is or on an inventory from a file."""

from pathlib import Path
from typing import Any

import click

from backfleet.cli._client import Client
from backfleet.cli._options import WholeNumber, calls_the_api, fail, json_option
from backfleet.cli._policies import POLICY_FILE, call_with_policy
from backfleet.cli._print import moment, print_json, say
from backfleet.cli._tables import print_table
from backfleet_host.texts import counted

_CSV = click.Path(exists=True, dir_okay=False, path_type=Path)
PRESETS = (
    "ssm-ramp", "ansible-serial", "elastic-spread", "hawkbit-thresholds", "teleport-canary", "nebraska-safe-mode",
)  # fmt: skip
"""Those of backfleet.rollouts.simulation, by name: importing that takes two seconds."""
LARGEST_SEED = 2**31 - 1
_FAILURES = "What the release does: `2%`, `bad-canary`, or `last-30-days`: as upgrades and backups of late."


@click.command(name="simulate")
@click.argument("file", type=POLICY_FILE)
@click.option("--failures", default="", metavar="SHARE", help=_FAILURES)
@click.option("--seed", default=1, show_default=True, type=WholeNumber(0, LARGEST_SEED), help="Of made-up hosts.")
@click.option("--inventory", type=_CSV, help="Simulate here on these clients (CSV). No server is asked.")
@click.option("--preset", type=click.Choice(PRESETS), help="Move the fleet as another system does.")
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="Write a picture to this file, too.")
@json_option
@click.option("--endpoint", metavar="HOST:PORT", help="The server. Default: that of the local data folder.")
@click.option("--profile", metavar="NAME", help="A profile in the aliyun command's configuration file.")
@click.option("--ca", type=click.Path(path_type=Path), help="Certificate of the authority that signed the server's.")
@click.option("--data", type=click.Path(path_type=Path), help="The local data folder.")
def simulate_policy(
    file: Path,
    failures: str,
    seed: int,
    inventory: Path | None,
    preset: str | None,
    svg: Path | None,
    as_json: bool,
    **connection: Any,
) -> None:
    """Show how a policy would go, in virtual time and on made-up hosts. Nothing changes.

    With an inventory the policy's freeze calendars are not known: its windows are kept to.
    """
    if inventory is not None:
        from backfleet.cli._simulating_here import simulate_here  # late: it loads what only the server needs

        report = simulate_here(file, failures, seed, inventory, preset)
    else:
        asked = {"Failures": failures or None, "Seed": seed, "Preset": preset}
        report = _ask(file=file, asked=asked, **connection)
    if svg is not None:
        from backfleet.rollouts.simulation import curves_of, draw_curves  # late, as above

        title = f"{file.name}: {report['Members']} members, {report['State']}"
        try:
            svg.write_text(draw_curves(title, curves_of(report), report["Members"]), encoding="utf-8")
        except OSError as problem:
            fail(f"the picture cannot be written to {svg}: {problem.strerror}")
    if as_json:
        print_json(report)
    else:
        _print(report)


def _ask(*, file: Path, asked: dict[str, Any], **connection: Any) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    @calls_the_api
    def call(api: Client) -> None:
        found.append(call_with_policy(api, "SimulateRollout", file, **asked))

    call(**connection)
    return found[0]


def _print(report: dict[str, Any]) -> None:
    why = f": {report['Reason']}" if report["Reason"] else ""
    ended, stopped = report.get("EndedTime"), report.get("FirstStopTime")  # a server leaves out what there is not
    at = f" at {moment(ended)}" if ended else ""
    say(f"{report['State']}{why}; {report['Done']} of {report['Members']} done{at}")
    if stopped not in (None, ended):
        say(f"first stopped at {moment(stopped)}: {report['FirstStop']}")
    say(f"{counted(report['Reached'], 'member')} got an order; the release fails on {report['BadReached']} of them")
    if report.get("FailuresFound"):
        say(f"failures {report['FailuresFound']}")
    say(f"at most {report['MostOrdersAMinute']} orders a minute; {report['Decisions']} decisions")
    if not report["IsComplete"]:
        say("the simulation was cut off before the rollout ended")
    rows = [
        (ring["Name"], ring["Members"], ring["Done"], ring["Failed"], moment(ring.get("StartedTime")),
         moment(ring.get("FinishedTime")))
        for ring in report["Rings"]
    ]  # fmt: skip
    print_table(("RING", "MEMBERS", "DONE", "FAILED", "STARTED", "FINISHED"), rows)
    if report["NotDoneByReason"]:
        say("not done:")
        print_table(
            ("MEMBERS", "STATE", "REASON"),
            [(each["Members"], each["State"], each["Reason"]) for each in report["NotDoneByReason"]],
        )
