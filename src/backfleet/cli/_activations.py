"""backfleet activation: the codes with which hosts enrol."""

from typing import Any

import click

from backfleet.cli._client import Client
from backfleet.cli._enrolment import Enrolment
from backfleet.cli._options import WholeNumber, calls_the_api, fail, json_option
from backfleet.cli._print import print_json, say
from backfleet.cli._tables import Output, output_options
from backfleet.host_program import MISSING

PAGE = 50  # activations per call: the API's maximum
FORMS = ("lines", "cloud-init", "image")


@click.group()
def activation() -> None:
    """Activation codes, with which hosts enrol."""


@activation.command()
@click.option(
    "--count", type=WholeNumber(1, 1000), default=10, show_default=True, help="How many hosts may enrol with it."
)
@click.option("--expires", type=WholeNumber(1, 24), default=4, show_default=True, metavar="HOURS")
@click.option("--name", help="Names hosts NAME-1, NAME-2... Default: their host names.")
@click.option(
    "--as",
    "form",
    type=click.Choice(FORMS),
    default=FORMS[0],
    show_default=True,
    help="Lines to paste; user data with which cloud-init enrols; user data for copies of a prepared disk.",
)
@json_option
@calls_the_api
def create(client: Client, count: int, expires: int, name: str | None, form: str, as_json: bool) -> None:
    """Create a code and print the line to paste on a host, for either agent.

    The user data of `--as cloud-init` and `--as image` contain the code: whoever can read them can enrol hosts.
    """
    server = client.call("backfleet", "DescribeServer")
    if server.get("HostProgramSha256") == "":  # older servers do not tell
        fail(f"the server has no host program, so no host can enrol: {MISSING}")
    region = server["RegionId"]
    made = client.call(
        "ecs", "CreateActivation", RegionId=region, InstanceCount=count, TimeToLiveInHours=expires, InstanceName=name
    )
    enrolment = Enrolment(server, region, made["ActivationId"], made["ActivationCode"])
    if as_json:
        lines = {"BackfleetHost": enrolment.own_agent, "OfficialAgent": enrolment.official_agent}
        data = {"CloudInit": enrolment.cloud_init, "ImageCloudInit": enrolment.image}
        known = {"Server": enrolment.address, "AuthoritySha256": server["AuthoritySha256"]}
        print_json(
            {"ActivationId": enrolment.activation_id, "ActivationCode": enrolment.code, **known, **lines, **data}
        )
        return
    if form != FORMS[0]:
        click.echo(enrolment.cloud_init if form == "cloud-init" else enrolment.image, nl=False)
        return
    for line in (
        f"{count} host(s) may enrol with this code within {expires} h. It is shown only now.", "",
        "With Backfleet's own agent, as root:", "", f"  {enrolment.own_agent}", "", _about_binaries(server), "",
        "With the official Cloud Assistant agent, as root:", "", f"  {enrolment.official_agent}",
    ):  # fmt: skip
        say(line)


def _about_binaries(server: dict[str, Any]) -> str:
    """Return which hosts without Python 3.10 may enrol. Older servers do not tell."""
    found = server.get("HostBinaries") or []
    if not found:
        return (
            "They need Python 3.10: this server has no program for hosts without it (`make host-binary`, docs/host.md)."
        )
    kinds = ", ".join(f"{each['Machine']} (SHA-256 {each['Sha256'][:16]}...)" for each in found)
    return f"Hosts without Python 3.10 get a program that brings its own, if they are {kinds}."


@activation.command(name="list")
@click.option("--limit", type=WholeNumber(1), default=200, show_default=True, metavar="N", help="No more than N.")
@output_options
@calls_the_api
def list_activations(client: Client, limit: int, output: Output) -> None:
    """List activations, newest first, without their codes: these are shown only when they are made."""
    region = client.region()
    found: list[dict[str, Any]] = []
    while len(found) < limit:
        number = len(found) // PAGE + 1
        answer = client.call("ecs", "DescribeActivations", RegionId=region, PageNumber=number, PageSize=PAGE)
        found += answer["ActivationList"]
        if len(answer["ActivationList"]) < PAGE:
            break
    found = found[:limit]
    output.show(
        ("ACTIVATION", "NAME", "ENROLLED", "OF", "CREATED", "HOURS", "STATE"),
        [
            (
                a["ActivationId"],
                a["InstanceName"],
                a["RegisteredCount"],
                a["InstanceCount"],
                a["CreationTime"],
                a["TimeToLiveInHours"],
                "disabled" if a["Disabled"] else "enabled",
            )
            for a in found
        ],
        found,
    )


@activation.command()
@click.argument("activation_id")
@json_option
@calls_the_api
def disable(client: Client, activation_id: str, as_json: bool) -> None:
    """Let no more hosts enrol with an activation. Hosts that have enrolled stay."""
    region = client.region()
    found = client.call("ecs", "DisableActivation", RegionId=region, ActivationId=activation_id)["Activation"]
    if as_json:
        print_json(found)
        return
    say(f"{activation_id}: disabled; the {found['RegisteredCount']} host(s) that enrolled with it stay")
