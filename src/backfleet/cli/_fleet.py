"""backfleet activation and backfleet instance: enrolment codes and hosts."""

from typing import Any

import click

from backfleet.cli._client import Client
from backfleet.cli._options import WholeNumber, calls_the_api, fail, json_option
from backfleet.cli._print import print_json, say
from backfleet.cli._tables import print_table
from backfleet.host_program import MISSING
from backfleet_host.download_paths import AUTHORITY, DOWNLOADS, HOST_PROGRAM
from backfleet_host.layout import DEFAULT_ROOT, policy_folder

PAGE = 50  # instances per call: the API's maximum


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


@click.group()
def instance() -> None:
    """Hosts that have enrolled."""


@instance.command(name="list")
@json_option
@calls_the_api
def list_instances(client: Client, as_json: bool) -> None:
    """List every host, and whether its agent is connected."""
    found = _instances(client)
    if as_json:
        print_json(found)
        return
    print_table(
        ("INSTANCE", "NAME", "HOSTNAME", "OS", "ADDRESS", "AGENT", "CONNECTED", "REGISTERED"),
        [
            (
                i["InstanceId"],
                i.get("InstanceName"),
                i.get("Hostname"),
                i.get("OsType"),
                i.get("IntranetIp"),
                i.get("AgentVersion"),
                "yes" if i.get("Connected") else "no",
                i.get("RegistrationTime"),
            )
            for i in found
        ],
    )


@instance.command()
@click.argument("instance_id")
@calls_the_api
def show(client: Client, instance_id: str) -> None:
    """Show one host and its backup clients."""
    found = _instances(client, instance_id)
    if not found:
        fail(f"there is no instance {instance_id}; `backfleet instance list` lists those of your account")
    clients = client.call(
        "hbr", "DescribeBackupClients", ClientType="ECS_CLIENT", InstanceIds=[instance_id], PageSize=99
    )
    more = client.call("backfleet", "DescribeInstance", InstanceId=instance_id)
    print_json({**found[0], **more, "Clients": clients["Clients"]})


@instance.command()
@click.argument("instance_id")
@click.option("--type", "kind", default="ACS:Application", show_default=True, help="The kind of inventory.")
@json_option
@calls_the_api
def inventory(client: Client, instance_id: str, kind: str, as_json: bool) -> None:
    """Show what is installed on a host, as its agent reported last."""
    rows: list[dict[str, Any]] = []
    page = 1
    while True:
        answer = client.call(
            "backfleet", "ListInventory", InstanceId=instance_id, Type=kind, PageNumber=page, PageSize=500
        )
        rows += answer["Rows"]
        if not answer["Rows"] or len(rows) >= answer["TotalCount"]:
            break
        page += 1
    if as_json or kind != "ACS:Application":
        print_json(rows)
        return
    print_table(
        ("NAME", "VERSION", "ARCHITECTURE"),
        [(row.get("Name"), row.get("Version"), row.get("Architecture")) for row in rows],
    )


@instance.command()
@click.argument("instance_id")
@calls_the_api
def stopped(client: Client, instance_id: str) -> None:
    """Record that a host was shut down, so that nothing waits for it until its agent reports again."""
    client.call("backfleet", "NoteInstanceStopped", InstanceId=instance_id)
    say(f"{instance_id}: stopped, until its agent reports again")


@instance.command()
@click.argument("instance_id")
@calls_the_api
def deregister(client: Client, instance_id: str) -> None:
    """Remove a host: its agent's key is not accepted any more."""
    region = client.call("backfleet", "DescribeServer")["RegionId"]
    client.call("ecs", "DeregisterManagedInstance", RegionId=region, InstanceId=instance_id)
    say(f"{instance_id}: deregistered")


def _instances(client: Client, instance_id: str | None = None) -> list[dict[str, Any]]:
    region = client.call("backfleet", "DescribeServer")["RegionId"]
    named = {"InstanceId.1": instance_id} if instance_id else {}
    found: list[dict[str, Any]] = []
    page = 1
    while True:
        answer = client.call(
            "ecs", "DescribeManagedInstances", RegionId=region, PageNumber=page, PageSize=PAGE, **named
        )
        found += answer["Instances"]
        if len(answer["Instances"]) < PAGE or len(found) >= answer["TotalCount"]:
            return found
        page += 1
