"""backfleet role: roles and their sessions, by the RAM and STS operations."""

import shlex
from pathlib import Path

import click

from backfleet.cli._client import Client
from backfleet.cli._identity import every_page, read_document
from backfleet.cli._options import Done, WholeNumber, calls_the_api, json_option, prints_the_answer
from backfleet.cli._print import print_json, say
from backfleet.cli._tables import Output, output_options, print_table

ENVIRONMENT = {
    "ALIBABA_CLOUD_ACCESS_KEY_ID": "AccessKeyId",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "AccessKeySecret",
    "ALIBABA_CLOUD_SECURITY_TOKEN": "SecurityToken",
}
"""The environment variables in which official clients, and this one, find credentials, and STS's names for them."""

_DOCUMENT = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def role() -> None:
    """Roles: permissions that other accounts, users or programs may assume for a time."""


@role.command()
@click.argument("name")
@click.option("--trust", type=_DOCUMENT, required=True, help="A JSON document that says who may assume it.")
@click.option("--description", metavar="TEXT")
@click.option("--hours", type=WholeNumber(1, 12), default=1, show_default=True, help="How long a session lasts.")
@prints_the_answer
@calls_the_api
def create(client: Client, name: str, trust: Path, description: str | None, hours: int) -> Done:
    """Create a role. It may do nothing until a policy is attached."""
    done = client.call(
        "ram",
        "CreateRole",
        RoleName=name,
        AssumeRolePolicyDocument=read_document(trust),
        Description=description,
        MaxSessionDuration=hours * 3600,
    )
    return done, f"{name}: created; attach a policy with `backfleet policy attach POLICY {name} --to role`"


@role.command(name="list")
@output_options
@calls_the_api
def list_roles(client: Client, output: Output) -> None:
    """List every role of the account."""
    found = every_page(client, "ListRoles", "Roles", "Role")
    output.show(("ROLE", "ARN", "CREATED"), [(r["RoleName"], r["Arn"], r["CreateDate"]) for r in found], found)


@role.command()
@click.argument("name")
@json_option
@calls_the_api
def show(client: Client, name: str, as_json: bool) -> None:
    """Show one role: who may assume it, and its policies."""
    found = client.call("ram", "GetRole", RoleName=name)["Role"]
    policies = client.call("ram", "ListPoliciesForRole", RoleName=name)["Policies"]["Policy"]
    if as_json:
        print_json(found | {"Policies": policies})
        return
    attached = ", ".join(policy["PolicyName"] for policy in policies) or "none"
    rows = [("arn", found["Arn"]), ("sessions", f"{found['MaxSessionDuration']} s at most"), ("policies", attached)]
    print_table((found["RoleName"], found["Description"]), rows)
    for line in found["AssumeRolePolicyDocument"].split("\n"):
        say(line)


@role.command()
@click.argument("name")
@click.argument("document", type=_DOCUMENT)
@prints_the_answer
@calls_the_api
def trust(client: Client, name: str, document: Path) -> Done:
    """Change who may assume a role. Sessions that exist are not affected."""
    done = client.call("ram", "UpdateRole", RoleName=name, NewAssumeRolePolicyDocument=read_document(document))
    return done, f"{name}: trust policy replaced by {document}"


@role.command()
@click.argument("arn")
@click.option("--session", metavar="NAME", default="backfleet", show_default=True, help="Its name in the audit trail.")
@click.option("--seconds", type=WholeNumber(900, 43200), default=3600, show_default=True)
@json_option
@calls_the_api
def assume(client: Client, arn: str, session: str, seconds: int, as_json: bool) -> None:
    """Assume a role, of this account or another: eval "$(backfleet role assume ARN)".

    Sign with the key of a user or of another role's session: an account's root key may not assume roles.
    """
    answer = client.call("sts", "AssumeRole", RoleArn=arn, RoleSessionName=session, DurationSeconds=seconds)
    if as_json:
        print_json(answer["Credentials"])
        return
    for name, member in ENVIRONMENT.items():
        say(f"export {name}={shlex.quote(answer['Credentials'][member])}")


@role.command()
@click.argument("name")
@prints_the_answer
@calls_the_api
def delete(client: Client, name: str) -> Done:
    """Delete a role that has no policies. Its sessions end at once."""
    done = client.call("ram", "DeleteRole", RoleName=name)
    return done, f"{name}: deleted"
