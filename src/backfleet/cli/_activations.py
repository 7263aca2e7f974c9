"""backfleet activation: the codes with which hosts enrol."""

from typing import Any

import click

from backfleet.cli._client import Client
from backfleet.cli._options import WholeNumber, calls_the_api, fail, json_option
from backfleet.cli._print import print_json, say
from backfleet.cli._tables import Output, output_options
from backfleet.host_program import MISSING
from backfleet_host.download_paths import AUTHORITY, DOWNLOADS, HOST_PROGRAM
from backfleet_host.layout import DEFAULT_ROOT, policy_folder

PAGE = 50  # activations per call: the API's maximum


@click.group()
def activation() -> None:
    """Activation codes, with which hosts enrol."""


@activation.command()
@click.option(
    "--count", type=WholeNumber(1, 1000), default=10, show_default=True, help="How many hosts may enrol with it."
)
@click.option("--expires", type=WholeNumber(1, 24), default=4, show_default=True, metavar="HOURS")
@click.option("--name", help="Names hosts NAME-1, NAME-2... Default: their host names.")
@json_option
@calls_the_api
def create(client: Client, count: int, expires: int, name: str | None, as_json: bool) -> None:
    """Create a code and print the line to paste on a host, for either agent."""
    server = client.call("backfleet", "DescribeServer")
    if server.get("HostProgramSha256") == "":  # older servers do not tell
        fail(f"the server has no host program, so no host can enrol: {MISSING}")
    region = server["RegionId"]
    made = client.call(
        "ecs", "CreateActivation", RegionId=region, InstanceCount=count, TimeToLiveInHours=expires, InstanceName=name
    )
    lines = _paste_lines(server, region, made["ActivationId"], made["ActivationCode"])
    if as_json:
        print_json({"ActivationId": made["ActivationId"], "ActivationCode": made["ActivationCode"], **lines})
        return
    for line in (
        f"{count} host(s) may enrol with this code within {expires} h. It is shown only now.", "",
        "With Backfleet's own agent, as root:", "", f"  {lines['BackfleetHost']}", "",
        "With the official Cloud Assistant agent, as root:", "", f"  {lines['OfficialAgent']}",
    ):  # fmt: skip
        say(line)


def _paste_lines(server: dict[str, Any], region: str, activation_id: str, code: str) -> dict[str, str]:
    """Return the line for each agent. It fetches the authority first and checks everything else against it."""
    address = server["AgentAddress"]
    downloads = f"https://{address}{DOWNLOADS}"
    ca = policy_folder(DEFAULT_ROOT) / "ca.pem"
    # -k is safe here: a wrong authority has another fingerprint, and the check that follows ends the line.
    fetch_ca = (
        f"mkdir -p {ca.parent} /etc/sysconfig && curl -fsSk {downloads}{AUTHORITY} -o {ca} && "
        f"echo '{server['AuthoritySha256']}  {ca}' | sha256sum -c --quiet"
    )
    program = "/usr/local/bin/backfleet-host"
    own = (
        f"{fetch_ca} && curl -fsS --cacert {ca} {downloads}{HOST_PROGRAM} -o {program} && "
        f"chmod 755 {program} && BACKFLEET_ACTIVATION_CODE={code} {program} enrol --server {address} --ca {ca} "
        f"--activation-id {activation_id} && {{ {program} service || {program} run; }}"
    )
    official = (
        f"{fetch_ca} && printf 'ALIYUN_ASSIST_SERVER_HOST={address}\\nALIYUN_ASSIST_CERT_PATH={ca}\\n' > "
        f"/etc/sysconfig/aliyun && set -a && . /etc/sysconfig/aliyun && aliyun-service --register --RegionId={region} "
        f"--ActivationCode={code} --ActivationId={activation_id}"
    )
    return {"BackfleetHost": own, "OfficialAgent": official}


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
