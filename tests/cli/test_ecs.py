"""Accounts of a cloud on the command line: what is stored, shown, refused and deleted."""

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from backfleet.cli import main

Cli = Callable[..., Result]
SECRET = "a-secret-of-the-cloud"
KEY = ("--key-id", "LTAI-example")


def create(name: str, *options: str, secret: str = SECRET + "\n") -> Result:
    """Store a cloud account; its secret comes on standard input."""
    return CliRunner().invoke(main, ["ecs-account", "create", name, *options], input=secret)


def test_a_cloud_account_is_stored_shown_without_its_secret_and_deleted(cli: Cli) -> None:
    made = create("prod", *KEY)
    assert (made.exit_code, made.stdout.strip()) == (0, "cloud account prod stored"), made.output
    listed = cli("ecs-account", "list")
    assert listed.stdout.splitlines()[1].split() == ["prod", "LTAI-example", "not", "asked", "yet"]
    assert SECRET not in made.output + listed.output + cli("ecs-account", "list", "--json").output
    assert cli("ecs-account", "delete", "prod").exit_code == 0
    assert json.loads(cli("ecs-account", "list", "--json").stdout) == []
    assert "EcsAccountNotFound" in cli("ecs-account", "delete", "prod").stderr


@pytest.mark.parametrize(
    ("options", "secret", "code", "text"),
    [
        pytest.param((), SECRET, 2, "give --key-id or --server-credentials", id="no credentials"),
        pytest.param((*KEY, "--server-credentials", "chain"), SECRET, 2, "give --key-id or", id="two credentials"),
        pytest.param(KEY, "\n", 1, "the secret of the access key comes there", id="no secret"),
        pytest.param(("--server-credentials", "profile"), "", 1, "SourceName", id="a profile without a name"),
        pytest.param((*KEY, "--role-arn", "acs:ram::1:user/x"), SECRET, 1, "RoleArn", id="a role that is none"),
    ],
)
def test_what_cannot_be_a_cloud_account_is_refused(
    cli: Cli, options: tuple[str, ...], secret: str, code: int, text: str
) -> None:
    """And nothing is stored."""
    done = create("wrong", *options, secret=secret)
    assert (done.exit_code, text in done.stderr) == (code, True), done.output
    assert SECRET not in done.output
    assert "wrong" not in cli("ecs-account", "list").stdout


def test_an_import_from_a_place_that_the_settings_do_not_allow_is_refused(cli: Cli) -> None:
    """The address of the metadata of machines, for one; and the credentials of the server itself."""
    create("near", *KEY, "--cloud-endpoint", "169.254.169.254")
    create("own", "--server-credentials", "chain", secret="")
    for name, text in (("near", "the server may not go there"), ("own", "ecs_own_credentials_for")):
        done = cli("ecs-import", "create", name, "--cloud-region", "cn-beijing")
        assert (done.exit_code, "EcsNotAllowed" in done.stderr, text in done.stderr) == (1, True, True), done.output
        cli("ecs-account", "delete", name)
    assert json.loads(cli("ecs-import", "list", "--json").stdout) == []
    assert "EcsAccountNotFound" in cli("ecs-import", "create", "nobody", "--cloud-region", "cn-beijing").stderr
    assert "EcsImportNotFound" in cli("ecs-import", "delete", "ei-nothing").stderr
