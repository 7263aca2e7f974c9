"""--expires, precheck and stage: what the command line asks for, and what it shows of what waits."""

import json

import pytest

from cli.fleet import Fleet, many

__all__ = ["many"]


@pytest.mark.parametrize(
    ("words", "action"),
    [
        (("upgrade",), "UpgradeBackupClients"),
        (("install", "--package", "courier"), "InstallBackupClients"),
        (("uninstall", "--yes"), "UninstallBackupClients"),
        (("precheck",), "PrecheckClients"),
        (("stage", "--version", "2.0"), "StageClients"),
    ],
)
def test_hosts_that_are_away_are_waited_for(many: Fleet, words: tuple[str, ...], action: str) -> None:
    """The task shows what its hosts are waited for, and until when."""
    host = many.env.host(silent=True)
    many.env.client(host)
    done = many.run("client", *words, "--instance", host, "--expires", "7d", "--json")
    assert done.exit_code == 0, done.output
    (call,) = many.calls(action)
    assert call["ExpiresInSeconds"] == 7 * 86400
    task = json.loads(done.stdout)["TaskId"]
    shown = many.run("task", "show", task).stdout
    assert ("waiting: offline since " in shown, " at the latest" in shown) == (True, True), shown
    assert f"{action}Task" in shown


@pytest.mark.parametrize("given", ["soon", "7", "59s", "31d"])
def test_what_is_no_time_to_wait_is_refused(many: Fleet, given: str) -> None:
    """Before anything is asked."""
    done = many.run("client", "upgrade", "--all", "--yes", "--expires", given)
    assert (done.exit_code, "--expires" in done.output) == (2, True), done.output
    assert many.asked == []


def test_without_it_nothing_is_sent(many: Fleet) -> None:
    host, _ = many.add("web-7")
    assert many.run("client", "precheck", host).exit_code == 0
    (call,) = many.calls("PrecheckClients")
    assert "ExpiresInSeconds" not in call


def test_clients_on_a_withdrawn_version_can_be_chosen(many: Fleet) -> None:
    """By `offer`, in any command that takes clients."""
    many.env.release("3.0", withdrawn=True)
    _, old = many.add("late-1", "3.0")
    many.add("late-2", "2.0")
    assert [each["ClientId"] for each in many.run_json("client", "list", "--where", "offer=withdrawn")] == [old]
    done = many.run("client", "roll-back", "--where", "offer=withdrawn", "--yes")
    assert done.exit_code == 0, done.output
    (call,) = many.calls("RollBackClients")
    assert call["ClientIds"] == [old]
