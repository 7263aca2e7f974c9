"""backfleet account, user, key and policy: identity, by the RAM operations."""

import json
from pathlib import Path
from typing import Any

import click

from backfleet.cli._client import Client
from backfleet.cli._options import Done, calls_the_api, fail, json_option, prints_the_answer, read_text
from backfleet.cli._print import moment, print_json, say
from backfleet.cli._tables import Output, output_options


@click.group()
def account() -> None:
    """Accounts of this installation. For the administrator account only."""


@account.command(name="create")
@click.argument("name")
@json_option
@calls_the_api
def create_account(client: Client, name: str, as_json: bool) -> None:
    """Create an account and its root key. The secret is shown only now."""
    made = client.call("backfleet", "CreateAccount", AccountName=name)
    if as_json:
        print_json({name: value for name, value in made.items() if name != "RequestId"})
        return
    for heading, member in (
        ("account id", "AccountId"),
        ("access key id", "AccessKeyId"),
        ("access key secret", "AccessKeySecret"),
    ):
        say(f"{heading:<18} {made[member]}")


@account.command(name="list")
@output_options
@calls_the_api
def list_accounts(client: Client, output: Output) -> None:
    """List every account."""
    found = client.call("backfleet", "ListAccounts")["Accounts"]
    rows = [
        (a["AccountId"], a["AccountName"] or ("administrator" if a["IsOperator"] else ""), moment(a["CreatedTime"]))
        for a in found
    ]
    output.show(("ACCOUNT", "NAME", "CREATED"), rows, found)


@click.group()
def user() -> None:
    """Users: people and programs that call the API."""


@user.command()
@click.argument("name")
@prints_the_answer
@calls_the_api
def create(client: Client, name: str) -> Done:
    """Create a user. It may do nothing until a policy is attached."""
    done = client.call("ram", "CreateUser", UserName=name)
    return done, f"{name}: created; attach a policy with `backfleet policy attach`"


@user.command(name="list")
@output_options
@calls_the_api
def list_users(client: Client, output: Output) -> None:
    """List every user of the account."""
    found = every_page(client, "ListUsers", "Users", "User")
    output.show(
        ("USER", "ID", "CREATED"), [(u["UserName"], u.get("UserId"), u.get("CreateDate")) for u in found], found
    )


@user.command()
@click.argument("name")
@prints_the_answer
@calls_the_api
def delete(client: Client, name: str) -> Done:
    """Delete a user that has no keys and policies."""
    done = client.call("ram", "DeleteUser", UserName=name)
    return done, f"{name}: deleted"


@click.group()
def key() -> None:
    """Access keys of users."""


@key.command(name="create")
@click.argument("user_name")
@json_option
@calls_the_api
def create_key(client: Client, user_name: str, as_json: bool) -> None:
    """Create an access key. Its secret is shown only now."""
    made = client.call("ram", "CreateAccessKey", UserName=user_name)["AccessKey"]
    if as_json:
        print_json(made)
        return
    say(f"access key id      {made['AccessKeyId']}")
    say(f"access key secret  {made['AccessKeySecret']}")


@key.command(name="list")
@click.argument("user_name")
@output_options
@calls_the_api
def list_keys(client: Client, user_name: str, output: Output) -> None:
    """List a user's keys, without their secrets."""
    found = client.call("ram", "ListAccessKeys", UserName=user_name)["AccessKeys"]["AccessKey"]
    output.show(("KEY", "STATUS", "CREATED"), [(k["AccessKeyId"], k["Status"], k["CreateDate"]) for k in found], found)


def _set_status(client: Client, user_name: str, key_id: str, status: str) -> Done:
    done = client.call("ram", "UpdateAccessKey", UserName=user_name, UserAccessKeyId=key_id, Status=status)
    return done, f"{key_id}: {status.lower()}"


@key.command()
@click.argument("user_name")
@click.argument("key_id")
@prints_the_answer
@calls_the_api
def disable(client: Client, user_name: str, key_id: str) -> Done:
    """Disable a key: calls with it are refused."""
    return _set_status(client, user_name, key_id, "Inactive")


@key.command()
@click.argument("user_name")
@click.argument("key_id")
@prints_the_answer
@calls_the_api
def enable(client: Client, user_name: str, key_id: str) -> Done:
    """Enable a disabled key again."""
    return _set_status(client, user_name, key_id, "Active")


@key.command(name="delete")
@click.argument("user_name")
@click.argument("key_id")
@prints_the_answer
@calls_the_api
def delete_key(client: Client, user_name: str, key_id: str) -> Done:
    """Delete a key. It cannot be restored."""
    done = client.call("ram", "DeleteAccessKey", UserName=user_name, UserAccessKeyId=key_id)
    return done, f"{key_id}: deleted"


@click.group()
def policy() -> None:
    """Policies: what users, groups and roles may do."""


@policy.command(name="create")
@click.argument("name")
@click.argument("document", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@prints_the_answer
@calls_the_api
def create_policy(client: Client, name: str, document: Path) -> Done:
    """Create a policy from a JSON document."""
    made = _warn(client.call("ram", "CreatePolicy", PolicyName=name, PolicyDocument=read_document(document)))
    return made, f"{name}: created"


@policy.command(name="list")
@output_options
@calls_the_api
def list_policies(client: Client, output: Output) -> None:
    """List every policy, including the system's."""
    found = every_page(client, "ListPolicies", "Policies", "Policy")
    output.show(
        ("POLICY", "TYPE", "DESCRIPTION"),
        [(p["PolicyName"], p["PolicyType"], p.get("Description")) for p in found],
        found,
    )


_SYSTEM = click.option("--system", is_flag=True, help="A policy of the system, such as AliyunHBRFullAccess.")
_TO = click.option(
    "--to",
    "kind",
    type=click.Choice(("user", "group", "role")),
    default="user",
    show_default=True,
    help="What HOLDER is.",
)


@policy.command()
@click.argument("policy_name")
@click.argument("holder")
@_TO
@_SYSTEM
@prints_the_answer
@calls_the_api
def attach(client: Client, policy_name: str, holder: str, kind: str, system: bool) -> Done:
    """Attach a policy to a user, a group or a role."""
    done = _attachment(client, f"AttachPolicyTo{kind.title()}", policy_name, (kind, holder), system)
    return done, f"{policy_name}: attached to {holder}"


@policy.command()
@click.argument("policy_name")
@click.argument("holder")
@_TO
@_SYSTEM
@prints_the_answer
@calls_the_api
def detach(client: Client, policy_name: str, holder: str, kind: str, system: bool) -> Done:
    """Detach a policy from a user, a group or a role."""
    done = _attachment(client, f"DetachPolicyFrom{kind.title()}", policy_name, (kind, holder), system)
    return done, f"{policy_name}: detached from {holder}"


def _attachment(client: Client, action: str, policy_name: str, holder: tuple[str, str], system: bool) -> dict[str, Any]:
    kind, name = holder
    of_type = "System" if system else "Custom"
    return _warn(
        client.call("ram", action, PolicyName=policy_name, PolicyType=of_type, **{f"{kind.title()}Name": name})
    )


def _warn(answer: dict[str, Any]) -> dict[str, Any]:
    """Report on stderr what of a policy has no effect; return the answer."""
    for warning in answer.get("Warnings", ()):
        say(f"warning: {warning}", err=True)
    return answer


@policy.command(name="delete")
@click.argument("name")
@prints_the_answer
@calls_the_api
def delete_policy(client: Client, name: str) -> Done:
    """Delete a policy that is not attached to anything."""
    done = client.call("ram", "DeletePolicy", PolicyName=name)
    return done, f"{name}: deleted"


def read_document(file: Path) -> str:
    """Return the text of a policy file. Exit if it is not JSON: the error names the place in the file."""
    text = read_text(file)
    try:
        json.loads(text)
    except ValueError as problem:
        fail(f"{file} is not JSON: {problem}")
    return text


def every_page(client: Client, action: str, outer: str, inner: str) -> list[dict[str, Any]]:
    """Return the members of every page of a RAM list."""
    found: list[dict[str, Any]] = []
    marker: str | None = None
    while True:
        answer = client.call("ram", action, MaxItems=100, Marker=marker)
        found += answer[outer][inner]
        marker = answer.get("Marker")
        if not answer.get("IsTruncated") or not marker:
            return found
