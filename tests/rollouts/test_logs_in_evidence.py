"""What hosts said of orders that failed is in a rollout's evidence: exported and verified by the command line."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from backfleet import upgrades
from backfleet.cli import _options, main
from backfleet.rollouts.evidence.logs import LONGEST_LOG, MOST_CHARACTERS, MOST_LOGS, MOST_OF_ONE, chosen, within_bounds
from backfleet.upgrades._tables import tasks
from backfleet_host.contract import Report
from backfleet_host.texts import LEFT_OUT
from rollouts.fleet import Answer, Fleet, succeeds
from upgrades.helpers import report_of

SAID = "Traceback (most recent call last):\n  ...\nOSError: no repository"
ONE_RING = """
name = "courier to 2.0"
package = "courier"
version = "2.0"
deadline = "{deadline}"
[[ring]]
name = "all"
[pace]
in_flight = "100%"
ramp = false
{more}
"""

Export = Callable[[Fleet, str], Path]


def fails_saying(text: str) -> Answer:
    def answer(item: upgrades.Item) -> Report:
        details = {"evidence": {"version": "2.0", "output": text}}
        return report_of(item, "failed", code="RolledBack", message="it exits with 1", stage="back", details=details)

    return answer


def halted(hosts: Fleet, *texts: str) -> tuple[str, list[str]]:
    """Roll out to a host for each text, which says it when it fails; return the rollout and the clients."""
    clients = hosts.grow(len(texts))
    hosts.answers |= {hosts.instance_of(each): fails_saying(said) for each, said in zip(clients, texts, strict=True)}
    rollout = hosts.roll_out(text=ONE_RING)
    hosts.run(rollout)
    return rollout, clients


def logs_of(file: Path) -> list[dict[str, Any]]:
    return [found["log"] for line in file.read_text().splitlines() if "log" in (found := json.loads(line))]


def seal_of(hosts: Fleet, rollout: str) -> Any:
    envelope = json.loads(hosts.ask("GetRolloutEvidence", RolloutId=rollout)["Seal"])
    return json.loads(base64.b64decode(envelope["payload"]))


def verified(file: Path) -> Result:
    """Verify a file with the key beside it, as another machine does: no server is asked."""
    key = str(file.with_name("key.pem"))
    return CliRunner().invoke(main, ["rollout", "evidence", "verify", str(file), "--key", key])


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Export:
    """Return a function that exports evidence of a rollout, and the key, by the command line."""

    def run(hosts: Fleet, rollout: str) -> Path:
        class Here:
            def __init__(self, *_: Any) -> None: ...

            def call(self, _product: str, action: str, **fields: Any) -> dict[str, Any]:
                return hosts.ask(action, **{name: str(value) for name, value in fields.items()})

        monkeypatch.setattr(_options, "Client", Here)
        monkeypatch.setattr(_options, "connect", lambda _: None)
        file = tmp_path / f"{rollout}.jsonl"
        for command in (["key"], ["export", rollout, str(file)]):
            found = CliRunner().invoke(main, ["rollout", "evidence", *command])
            assert found.exit_code == 0, found.output
            if command == ["key"]:
                (tmp_path / "key.pem").write_text(found.output)
        return file

    return run


def test_what_hosts_said_of_failures_is_in_the_file_and_in_the_seal(hosts: Fleet, export: Export) -> None:
    """As tasks show it, with the task; a host that succeeded has no log."""
    hosts.grow(1)
    rollout, [one, other] = halted(hosts, SAID, "another text")
    file = export(hosts, rollout)
    logs = {log["client_id"]: log for log in logs_of(file)}
    assert {client: log["text"] for client, log in logs.items()} == {one: SAID, other: "another text"}
    member = hosts.members(rollout)[one]
    assert (logs[one]["task_id"], logs[one]["to_version"], logs[one]["code"]) == (
        member["TaskId"], "2.0", "RolledBack",
    )  # fmt: skip
    found = verified(file)
    assert (found.exit_code, "3 members, 2 logs" in found.output) == (0, True), found.output


@pytest.mark.parametrize(("old", "new"), [("OSError", "OSErrox"), ("no repository", "a repository")])
def test_a_changed_byte_of_a_log_is_refused(sqlite_hosts: Fleet, export: Export, old: str, new: str) -> None:
    """With whose it is."""
    rollout, [client] = halted(sqlite_hosts, SAID)
    file = export(sqlite_hosts, rollout)
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))
    found = verified(file)
    assert found.exit_code == 1
    assert f"of '{client}': what its host said was changed" in found.output
    assert "NOT as it was signed" in found.output


def test_a_log_that_is_taken_out_is_missed(sqlite_hosts: Fleet, export: Export) -> None:
    """The seal counts them."""
    rollout, _ = halted(sqlite_hosts, SAID)
    file = export(sqlite_hosts, rollout)
    file.write_text("".join(line for line in file.read_text().splitlines(True) if not line.startswith('{"log"')))
    found = verified(file)
    assert (found.exit_code, "logs: the file has 0, sealed was 1" in found.output) == (1, True)


def test_a_file_of_a_later_version_is_refused_with_what_to_do(sqlite_hosts: Fleet, export: Export) -> None:
    """One sentence of it, and the verdict."""
    sqlite_hosts.grow(1)
    rollout = sqlite_hosts.roll_out(text=ONE_RING)
    sqlite_hosts.run(rollout)
    file = export(sqlite_hosts, rollout)
    assert logs_of(file) == []
    file.write_text(file.read_text().replace("evidence 2", "evidence 3", 1))
    found = verified(file)
    assert (found.exit_code, len(found.output.splitlines())) == (1, 2)
    assert "verify the file with a newer Backfleet" in found.output


def test_every_try_of_a_member_has_its_log_within_the_bound(sqlite_hosts: Fleet, export: Export) -> None:
    """Also the tries that another order followed; those over the bound are counted."""
    rollout, [client] = halted(sqlite_hosts, "try 0")
    for number in range(1, MOST_OF_ONE + 1):
        sqlite_hosts.answers[sqlite_hosts.instance_of(client)] = fails_saying(f"try {number}")
        sqlite_hosts.ask("RetryRolloutMembers", RolloutId=rollout, ClientIds=[client])
        if sqlite_hosts.show(rollout)["State"] == "halted":
            sqlite_hosts.ask("ResumeRollout", RolloutId=rollout)
        sqlite_hosts.run(rollout)
    file = export(sqlite_hosts, rollout)
    assert [log["text"] for log in logs_of(file)] == [f"try {number}" for number in range(MOST_OF_ONE)]
    assert seal_of(sqlite_hosts, rollout)["logs_left_out"] == 1
    assert f"{MOST_OF_ONE} logs (1 more left out)" in verified(file).output


def test_long_logs_have_their_first_and_last_lines_and_say_what_is_missing(sqlite_hosts: Fleet, export: Export) -> None:
    """And are still no more than their bound."""
    rollout, _ = halted(sqlite_hosts, "first\n" + "middle\n" * 5000 + "last")
    [log] = logs_of(export(sqlite_hosts, rollout))
    assert (log["text"].startswith("first\n"), log["text"].endswith("\nlast")) == (True, True)
    assert LEFT_OUT in log["text"]
    assert len(log["text"]) <= LONGEST_LOG


def test_logs_of_others_are_never_in_it(sqlite_hosts: Fleet, export: Export) -> None:
    """Neither those of a rollout of the same name, before or after, nor can another account ask for them."""
    before, [client] = halted(sqlite_hosts, "the first rollout")
    sqlite_hosts.ask("CancelRollout", RolloutId=before)
    sqlite_hosts.step()
    sqlite_hosts.answers[sqlite_hosts.instance_of(client)] = fails_saying("the second rollout")
    after = sqlite_hosts.roll_out(text=ONE_RING)
    sqlite_hosts.run(after)
    texts = [[log["text"] for log in logs_of(export(sqlite_hosts, each))] for each in (before, after)]
    assert texts == [["the first rollout"], ["the second rollout"]]
    other = sqlite_hosts.env.other_account
    status, body = sqlite_hosts.try_to("GetRolloutEvidence", other, RolloutId=before)
    assert (status, "first" in json.dumps(body)) == (404, False)


def test_a_rollout_that_is_taken_back_after_another_of_its_name_has_its_own_logs_alone(
    hosts: Fleet, export: Export
) -> None:
    """Both moved the same client, and the first is open again after the second has ended."""
    [client] = hosts.grow(1)
    first = hosts.roll_out(text=ONE_RING)
    assert hosts.run(first)["State"] == "completed"
    hosts.env.release("3.0")
    hosts.answers[hosts.instance_of(client)] = fails_saying("the second rollout")
    second = hosts.roll_out(text=ONE_RING.replace('"2.0"', '"3.0"'))
    assert hosts.run(second)["State"] == "halted"
    hosts.ask("CancelRollout", RolloutId=second)
    hosts.step()
    hosts.answers[hosts.instance_of(client)] = fails_saying("the way back")
    hosts.ask("RollBackRollout", RolloutId=first)
    hosts.run(first)
    texts = [[log["text"] for log in logs_of(export(hosts, each))] for each in (first, second)]
    assert texts == [["the way back"], ["the second rollout"]]


def test_orders_of_before_their_rollout_was_kept_have_their_logs_still(sqlite_hosts: Fleet, export: Export) -> None:
    """They are found by the name, as they were."""
    rollout, _ = halted(sqlite_hosts, SAID)
    with sqlite_hosts.helpers.transaction() as tx:
        assert tx.run(sa.update(tasks).where(tasks.c.origin == rollout).values(origin="")) == 1
    file = export(sqlite_hosts, rollout)
    assert [log["text"] for log in logs_of(file)] == [SAID]
    assert verified(file).exit_code == 0


def test_an_order_of_another_account_with_the_same_name_has_no_log_here(sqlite_hosts: Fleet) -> None:
    """Whatever its task is called: it is found by its account first."""
    rollout, [client] = halted(sqlite_hosts, SAID)
    with sqlite_hosts.helpers.database.reading() as tx:
        origin = upgrades.Origin(rollout, "rollouts", "courier to 2.0", sqlite_hosts.helpers.moment(0))
        mine = upgrades.with_output(tx, sqlite_hosts.helpers.account, origin)
        assert [each for _, each in mine] == [client]
        assert upgrades.with_output(tx, sqlite_hosts.env.other_account.account_id, origin) == []


def test_a_host_that_succeeds_leaves_no_log_whatever_it_prints(sqlite_hosts: Fleet, export: Export) -> None:
    """Only failures are evidence of a failure."""
    [client] = sqlite_hosts.grow(1)

    def chats(item: upgrades.Item) -> Report:
        report = succeeds(item)
        assert report is not None
        return Report(**{**report.__dict__, "details": {"evidence": {"output": "all is well"}}})

    sqlite_hosts.answers[sqlite_hosts.instance_of(client)] = chats
    rollout = sqlite_hosts.roll_out(text=ONE_RING)
    assert sqlite_hosts.run(rollout)["State"] == "completed"
    assert logs_of(export(sqlite_hosts, rollout)) == []


def test_only_so_many_logs_of_all_members_are_kept_and_the_rest_is_counted() -> None:
    """The first to fail; those of nobody in the rollout are neither kept nor counted."""
    spoken = [("i-x", "stranger"), *[(f"i-{at}", f"c-{at}") for at in range(MOST_LOGS + 7)]]
    ids, left_out = chosen(spoken, [f"c-{at}" for at in range(MOST_LOGS + 7)])
    assert (ids, left_out) == ([f"i-{at}" for at in range(MOST_LOGS)], 7)


def test_all_logs_together_are_bounded() -> None:
    """By their characters; each alone, too."""
    many = [{"text": "x" * (LONGEST_LOG + 1)}] * MOST_LOGS
    kept, left_out = within_bounds(many)
    size = sum(len(log["text"]) for log in kept)
    assert MOST_CHARACTERS - LONGEST_LOG < size <= MOST_CHARACTERS
    assert len(kept) + left_out == MOST_LOGS
