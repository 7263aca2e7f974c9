"""Accounts of AWS on the command line: what is stored, shown, refused and deleted."""

import json
from collections.abc import Callable

from click.testing import CliRunner, Result

from backfleet.cli import main

Cli = Callable[..., Result]
SECRET = "a-secret-of-aws"


def create(name: str, *options: str, secret: str = SECRET + "\n") -> Result:
    return CliRunner().invoke(main, ["ssm-account", "create", name, *options], input=secret)


def test_an_account_of_aws_is_stored_shown_without_its_secret_and_deleted(cli: Cli) -> None:
    made = create("prod", "--key-id", "AKIA-example", "--role-arn", "arn:aws:iam::123456789012:role/upgrades")
    assert (made.exit_code, made.stdout.strip()) == (0, "account prod of AWS stored"), made.output
    (listed,) = json.loads(cli("ssm-account", "list", "--json").stdout)
    assert (listed["Name"], listed["KeyId"], listed["RoleArn"][-8:]) == ("prod", "AKIA-example", "upgrades")
    assert cli("ssm-account", "list", "--csv").stdout.splitlines()[1].startswith("prod,AKIA-example,")
    assert SECRET not in made.output + cli("ssm-account", "list").output + str(listed)
    assert json.loads(cli("ecs-account", "list", "--json").stdout) == []
    assert cli("ssm-account", "delete", "prod").exit_code == 0
    assert json.loads(cli("ssm-account", "list", "--json").stdout) == []


def test_what_cannot_be_used_is_refused(cli: Cli) -> None:
    assert "give --key-id or --server-credentials" in create("wrong").stderr
    assert "RoleArn" in create("wrong", "--key-id", "A", "--role-arn", "acs:ram::1:role/x").stderr
    create("near", "--key-id", "A", "--cloud-endpoint", "169.254.169.254")
    done = cli("ssm-import", "create", "near", "--cloud-region", "eu-central-1", "--instance", "mi-1", "--tag", "a=b")
    assert (done.exit_code, "SsmNotAllowed" in done.stderr) == (1, True), done.output
    assert json.loads(cli("ssm-import", "list", "--json").stdout) == []
    assert "SsmImportNotFound" in cli("ssm-import", "delete", "ei-nothing").stderr
    cli("ssm-account", "delete", "near")
