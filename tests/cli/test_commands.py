"""Every command against a real server: what it does and prints, and its exit code."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from backfleet_host.platforms import platform_here
from cli.conftest import Cli
from journeys.installation import Installation

REQUEST_ID = r"\(RequestId [0-9A-F-]{36}\)"


def add_arguments(file: Path, version: str) -> list[str]:
    """Return the arguments that add a file as a release."""
    return ["release", "add", str(file), "--package", "courier", "--version", version, "--platform", platform_here()]


def test_a_client_from_release_to_removal(cli: Cli, server: Installation, program: Callable[[str], Path]) -> None:
    """Add, install, list, upgrade, watch, uninstall: what an administrator types, in order."""
    host = server.hosts[0].instance_id
    added = cli(*add_arguments(program("1.0"), "1.0"))
    assert (added.exit_code, "courier 1.0" in added.stdout, "added" in added.stdout) == (0, True, True), added.output
    assert "no health command" in added.stdout
    again = cli(*add_arguments(program("1.0"), "1.0"))
    assert (again.exit_code, "already there, nothing changed" in again.stdout) == (0, True)
    listed = json.loads(cli("release", "list", "--json").stdout)
    assert [(r["PackageName"], r["ReleaseVersion"], r["Channels"]) for r in listed] == [("courier", "1.0", ["stable"])]

    installed = cli("client", "install", "--instance", host, "--wait")
    assert installed.exit_code == 0, installed.output
    assert "InstallBackupClientsTask: completed, 100 %" in installed.stdout
    (client,) = json.loads(cli("client", "list", "--json").stdout)
    assert (client["InstanceId"], client["ClientVersion"], client["Status"]) == (host, "1.0", "ACTIVATED")

    assert cli(*add_arguments(program("1.1"), "1.1")).exit_code == 0
    upgraded = cli("client", "upgrade", "--client", client["ClientId"], "--wait", "--json")
    assert upgraded.exit_code == 0, upgraded.output
    (item,) = json.loads(upgraded.stdout)["Task"]["Result"]
    assert (item["fromVersion"], item["toVersion"], item["errorCode"]) == ("1.0", "1.1", "")
    assert server.hosts[0].runs() == "courier 1.1"
    task_id = json.loads(upgraded.stdout)["TaskId"]
    assert cli("task", "watch", task_id).exit_code == 0
    assert json.loads(cli("task", "show", task_id, "--json").stdout)["Progress"] == 100
    assert task_id in cli("task", "list").stdout
    history = cli("task", "list", "--instance", host, "--csv").stdout.splitlines()
    assert "courier,1.0,1.1,succeeded" in history[1]
    assert "courier,,1.0,succeeded" in history[2]

    shown = json.loads(cli("instance", "show", host).stdout)
    assert [c["ClientId"] for c in shown["Clients"]] == [client["ClientId"]]
    removed = cli("client", "uninstall", "--instance", host, "--wait")
    assert removed.exit_code == 0, removed.output
    assert not (server.hosts[0].root / "bin" / "courier").exists()


def test_other_bytes_under_the_same_version_are_refused(
    cli: Cli, program: Callable[[str], Path], tmp_path: Path
) -> None:
    """With a code and the request id; the release that was there stays."""
    assert cli(*add_arguments(program("3.0"), "3.0")).exit_code == 0
    other = tmp_path / "other.tar.gz"
    other.write_bytes(program("3.1").read_bytes())
    refused = cli(*add_arguments(other, "3.0"))
    assert refused.exit_code == 1
    assert re.search(rf"backfleet: ReleaseConflict: .* other bytes .*{REQUEST_ID}", refused.stderr), refused.stderr
    withdrawn = cli("release", "withdraw", "--package", "courier", "--version", "3.0", "--platform", platform_here())
    assert (withdrawn.exit_code, withdrawn.stdout.endswith("withdrawn\n")) == (0, True)
    assert "withdrawn" in cli("release", "list", "--package", "courier").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(["client", "upgrade"], 2, "name hosts or clients, or give --tag", id="nothing named"),
        pytest.param(
            ["client", "upgrade", "--instance", "x-1"], 1, "there is no host or client 'x-1'", id="no such kind"
        ),
        pytest.param(["client", "upgrade", "--client", "c-1"], 1, "ResourceNotFound: ", id="no such client"),
        pytest.param(["client", "upgrade", "--instance", "mi-1"], 1, "InstanceNotExists: ", id="no such instance"),
        pytest.param(["task", "show", "t-1"], 1, "TaskNotFound: The specified task doesn't exist.", id="no such task"),
        pytest.param(["task", "cancel", "t-1"], 1, "TaskNotFound: ", id="no such task to cancel"),
        pytest.param(["instance", "show", "mi-1"], 1, "there is no instance mi-1", id="no instance to show"),
        pytest.param(["activation", "create", "--count", "0"], 2, "0 is not in the range", id="for nobody"),
        pytest.param(["release", "add", "none.whl"], 2, "does not exist", id="no such file"),
        pytest.param(["user", "delete", "nobody"], 1, "EntityNotExist.User: ", id="no such user"),
        pytest.param(["clients"], 2, "No such command", id="no such command"),
    ],
)
def test_wrong_arguments_get_one_clear_error(cli: Cli, arguments: list[str], code: int, message: str) -> None:
    """On stderr, and nothing on stdout."""
    found = cli(*arguments)
    assert (found.exit_code, message in found.stderr, found.stdout) == (code, True, ""), found.output
    assert "Traceback" not in found.stderr


def test_a_wrong_key_or_server_says_what_to_do(cli: Cli) -> None:
    """The wrong secret, or the wrong port."""
    key = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAIno", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "hush"}
    refused = cli("client", "list", **key)
    assert (refused.exit_code, "InvalidAccessKeyId.NotFound: " in refused.stderr) == (1, True), refused.stderr
    away = cli("client", "list", "--endpoint", "127.0.0.1:1")
    assert (away.exit_code, "connection refused; is `backfleet serve` running there?" in away.stderr) == (1, True)
    assert "hush" not in refused.output + away.output


def test_another_authority_is_not_trusted(cli: Cli, server: Installation, tmp_path: Path) -> None:
    """Neither by default nor with the wrong file."""
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    broken = cli("client", "list", "--ca", str(wrong))
    assert (broken.exit_code, "cannot be read as a certificate" in broken.stderr) == (1, True), broken.stderr
    admin = server.admin()
    unknown = cli(
        "client", "list", "--data", str(tmp_path), "--endpoint", server.https,
        ALIBABA_CLOUD_ACCESS_KEY_ID=admin["access_key_id"],
        ALIBABA_CLOUD_ACCESS_KEY_SECRET=admin["access_key_secret"],
    )  # fmt: skip
    assert (unknown.exit_code, "name the right one with --ca FILE" in unknown.stderr) == (1, True), unknown.stderr


def test_a_user_may_do_what_a_policy_says_and_no_more(cli: Cli, tmp_path: Path) -> None:
    """A user with a key and a policy works, until they are removed."""
    assert json.loads(cli("user", "create", "ann", "--json").stdout)["User"]["UserName"] == "ann"
    again = cli("user", "create", "ann", "--json")
    assert (again.exit_code, json.loads(again.stderr)["Error"]["Code"]) == (1, "EntityAlreadyExists.User")
    made = json.loads(cli("key", "create", "ann", "--json").stdout)
    key = {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": made["AccessKeyId"],
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": made["AccessKeySecret"],
    }
    assert "NoPermission: " in cli("client", "list", **key).stderr
    document = tmp_path / "policy.json"
    document.write_text(
        '{"Version": "1", "Statement": [{"Effect": "Allow", "Action": "hbr:Describe*", "Resource": "*"}]}'
    )
    assert cli("policy", "create", "looking", str(document)).exit_code == 0
    assert cli("policy", "attach", "looking", "ann").exit_code == 0
    assert cli("client", "list", "--json", **key).exit_code == 0
    assert "NoPermission: " in cli("client", "upgrade", "--instance", "mi-1", **key).stderr
    assert json.loads(cli("key", "disable", "ann", made["AccessKeyId"], "--json").stdout) == {}
    assert "InvalidAccessKeyId.Inactive: " in cli("client", "list", **key).stderr
    assert "looking" in cli("policy", "list").stdout
    asked = ("policy", "test", "--user", "ann")
    allowed, denied = cli(*asked, "hbr:DescribeTask"), cli(*asked, "hbr:UpgradeBackupClients", "--json")
    assert (allowed.exit_code, "is allowed by statement 1 of " in allowed.stdout) == (0, True), allowed.output
    assert (denied.exit_code, json.loads(denied.stdout)["Decision"]) == (1, "ImplicitDeny"), denied.output
    assert "takes KEY=VALUE" in cli(*asked, "hbr:DescribeTask", "--condition", "10.0.0.1").output
    assert "did you mean hbr:DescribeTask?" in cli(*asked, "hbr:DescribeTaks").output
    assert "EntityNotExist.User" in cli("policy", "test", "--user", "bob", "hbr:DescribeTask").output
    for arguments in (
        ["policy", "detach", "looking", "ann"], ["policy", "delete", "looking"],
        ["key", "delete", "ann", made["AccessKeyId"]], ["user", "delete", "ann"],
    ):  # fmt: skip
        assert cli(*arguments).exit_code == 0, arguments
    assert json.loads(cli("user", "list", "--json").stdout) == []


def test_an_activation_prints_a_line_to_paste(cli: Cli) -> None:
    """For either agent, with the code in it; the authority's fingerprint is checked before anything else."""
    made = json.loads(cli("activation", "create", "--count", "1", "--json").stdout)
    for line in (made["BackfleetHost"], made["OfficialAgent"]):
        assert made["ActivationId"] in line
        assert made["ActivationCode"] in line
        assert re.search(r"'[0-9a-f]{64}  /etc/backfleet/ca.pem' \| sha256sum -c", line)
    assert "shown only now" in cli("activation", "create").stdout
