"""Roles at the command line: created, assumed, deleted."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Cli
from journeys.installation import Installation


def document(folder: Path, name: str, **statement: Any) -> str:
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"Version": "1", "Statement": [{"Effect": "Allow", **statement}]}))
    return str(file)


def exported(text: str) -> dict[str, str]:
    """What a shell would have in its environment after these lines."""
    lines = [shlex.split(line) for line in text.splitlines()]
    assert all(word[0] == "export" and len(word) == 2 for word in lines)
    return dict(word[1].split("=", 1) for word in lines)


@pytest.fixture
def ann(cli: Cli) -> dict[str, str]:
    """A user's key, as environment variables."""
    assert cli("user", "create", "ann").exit_code == 0
    made = json.loads(cli("key", "create", "ann", "--json").stdout)
    return {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": made["AccessKeyId"],
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": made["AccessKeySecret"],
    }


def test_a_user_works_in_a_role_until_it_is_deleted(
    cli: Cli, server: Installation, ann: dict[str, str], tmp_path: Path
) -> None:
    """The role's permissions count, not the user's, and end with the role."""
    account = server.admin()["account_id"]
    trust = document(tmp_path, "trust", Action="sts:AssumeRole", Principal={"RAM": f"acs:ram::{account}:user/ann"})
    may = document(tmp_path, "assume", Action="sts:AssumeRole", Resource="*")
    assert cli("role", "create", "Ops", "--trust", trust, "--description", "on call", "--hours", "2").exit_code == 0
    assert cli("policy", "attach", "AliyunHBRReadOnlyAccess", "Ops", "--to", "role", "--system").exit_code == 0
    shown = json.loads(cli("role", "show", "Ops", "--json").stdout)
    assert (shown["MaxSessionDuration"], [p["PolicyName"] for p in shown["Policies"]]) == (
        7200,
        ["AliyunHBRReadOnlyAccess"],
    )
    assert "AliyunHBRReadOnlyAccess" in cli("role", "show", "Ops").stdout
    assert "Ops" in cli("role", "list").stdout

    assert "NoPermission: " in cli("role", "assume", shown["Arn"], **ann).stderr
    assert cli("policy", "create", "assuming", may).exit_code == 0
    assert cli("policy", "attach", "assuming", "ann").exit_code == 0
    session = exported(cli("role", "assume", shown["Arn"], "--session", "night", **ann).stdout)
    assert cli("client", "list", "--json", **session).exit_code == 0
    assert json.loads(cli("client", "list", "--json", **ann).stderr)["Error"]["Code"] == "NoPermission"
    assert "NoPermission: " in cli("client", "upgrade", "--instance", "mi-1", **session).stderr

    foreign = document(tmp_path, "other", Action="sts:AssumeRole", Principal={"RAM": "acs:ram::1:root"})
    assert cli("role", "trust", "Ops", foreign).exit_code == 0
    assert "NoPermission: " in cli("role", "assume", shown["Arn"], **ann).stderr
    assert cli("client", "list", **session).exit_code == 0  # it goes on

    assert "DeleteConflict.Role.Policy: " in cli("role", "delete", "Ops").stderr
    assert cli("policy", "detach", "AliyunHBRReadOnlyAccess", "Ops", "--to", "role", "--system").exit_code == 0
    assert cli("role", "delete", "Ops").exit_code == 0
    over = cli("client", "list", **session)
    assert (over.exit_code, "InvalidSecurityToken" in over.stderr) == (1, True), over.stderr
    assert json.loads(cli("role", "list", "--json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(["create", "Ops"], 2, "Missing option '--trust'", id="nobody to trust"),
        pytest.param(["create", "Ops", "--trust", "none.json"], 2, "does not exist", id="no such file"),
        pytest.param(["create", "Ops", "--trust", "BROKEN"], 1, "is not JSON", id="no JSON"),
        pytest.param(["create", "Ops", "--trust", "EVERYBODY"], 1, "MalformedPolicyDocument", id="everybody"),
        pytest.param(["show", "None"], 1, "EntityNotExist.Role: ", id="no such role"),
        pytest.param(["assume", "Ops"], 1, "InvalidParameter.RoleArn: ", id="no ARN"),
        pytest.param(["assume", "acs:ram::1:role/Ops", "--seconds", "60"], 2, "60 is not in the range", id="too short"),
    ],
)
def test_wrong_arguments_get_one_clear_error(
    cli: Cli, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    """And no role is made."""
    (tmp_path / "broken.json").write_text("{")
    files = {
        "BROKEN": str(tmp_path / "broken.json"),
        "EVERYBODY": document(tmp_path, "everybody", Action="sts:AssumeRole", Principal={"RAM": "*"}),
    }
    found = cli("role", *(files.get(word, word) for word in arguments))
    assert (found.exit_code, message in found.stderr, found.stdout) == (code, True, ""), found.output
    assert json.loads(cli("role", "list", "--json").stdout) == []


def test_the_root_key_cannot_assume_roles(cli: Cli, server: Installation) -> None:
    """Nothing would limit it."""
    account = server.admin()["account_id"]
    refused = cli("role", "assume", f"acs:ram::{account}:role/Ops")
    assert (refused.exit_code, "not be assumed by root accounts" in refused.stderr) == (1, True), refused.stderr


def test_an_account_sees_only_itself(cli: Cli, server: Installation) -> None:
    """The administrator account makes it; it makes no others."""
    made = json.loads(cli("account", "create", "shop", "--json").stdout)
    assert "shop" in cli("account", "list").stdout
    assert made["AccountId"] in [found["AccountId"] for found in json.loads(cli("account", "list", "--json").stdout)]
    key = {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": made["AccessKeyId"],
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": made["AccessKeySecret"],
    }
    assert json.loads(cli("instance", "list", "--json").stdout)
    assert json.loads(cli("instance", "list", "--json", **key).stdout) == []
    assert "Forbidden.RAM: " in cli("account", "create", "more", **key).stderr
    assert "access key secret" in cli("account", "create", "other").stdout
