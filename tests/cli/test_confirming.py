"""When a command asks, when it needs --yes, and what it shows instead."""

import json
from collections.abc import Iterator

import pytest

from backfleet.cli import _confirming
from backfleet.cli._client import CallFailed
from backfleet.cli._confirming import Circumstances, Decision, decide
from cli.fleet import Fleet, many

__all__ = ["many"]

READING = ("DescribeBackupClients", "DescribeServer", "PreviewClients")


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param(Circumstances(10, True), Decision.GO, id="a few, on a terminal"),
        pytest.param(Circumstances(11, True), Decision.ASK, id="many, on a terminal"),
        pytest.param(Circumstances(11, True, is_by_id=True), Decision.ASK, id="many by id, on a terminal"),
        pytest.param(Circumstances(11, True, has_yes=True), Decision.GO, id="many, with --yes"),
        pytest.param(Circumstances(1, True, removes=True), Decision.ASK, id="one is removed, on a terminal"),
        pytest.param(Circumstances(1, True, removes=True, has_yes=True), Decision.GO, id="one is removed, with --yes"),
        pytest.param(Circumstances(10, False), Decision.GO, id="a few, in a script"),
        pytest.param(Circumstances(11, False), Decision.REFUSE, id="many by a rule, in a script"),
        pytest.param(Circumstances(100, False, is_by_id=True), Decision.GO, id="many by id, in a script"),
        pytest.param(Circumstances(10, False, removes=True), Decision.GO, id="a few are removed, in a script"),
        pytest.param(
            Circumstances(11, False, removes=True, is_by_id=True), Decision.REFUSE, id="many are removed, in a script"
        ),
        pytest.param(
            Circumstances(1, False, removes=True, is_more_than_named=True), Decision.REFUSE,
            id="more are removed than were named, in a script",
        ),
        pytest.param(Circumstances(99, False, True, removes=True), Decision.GO, id="many are removed, with --yes"),
    ],
)  # fmt: skip
def test_a_command_asks_where_much_would_change(now: Circumstances, expected: Decision) -> None:
    assert decide(now) is expected


@pytest.fixture(scope="module")
def racks(many: Fleet) -> Fleet:
    """Twelve hosts with a client each, and one with two."""
    for number in range(12):
        many.add(f"node-{number}", "1.0", rack="a")
    host, _ = many.add("both", "2.0")
    many.env.client(host, "1.0", package="restic")
    return many


def test_many_hosts_by_a_rule_need_yes_in_a_script(racks: Fleet) -> None:
    """The words to use are in the error; nothing was asked for."""
    refused = racks.run("client", "upgrade", "--tag", "rack=a")
    assert (refused.exit_code, racks.calls("UpgradeBackupClients")) == (1, [])
    assert "this would upgrade 12 clients on 12 hosts (node-0 courier, node-1 courier, node-2 courier, ...)" in (
        refused.stderr
    )
    assert "add --yes to do it, or --dry-run to see it; nothing was done" in refused.stderr
    assert racks.run("client", "upgrade", "--tag", "rack=a", "--yes").exit_code == 0
    assert len(racks.calls("UpgradeBackupClients")[0]["ClientIds"]) == 12


def test_a_dry_run_shows_each_client_and_changes_nothing(racks: Fleet) -> None:
    """With the version that it would have; exit code 0."""
    shown = racks.run("client", "upgrade", "node-3", "both", "--dry-run")
    assert shown.exit_code == 0, shown.output
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert rows[0] == ["HOST", "INSTANCE", "CLIENT", "PACKAGE", "NOW", "THEN"]
    assert [(row[0], row[3], " ".join(row[4:])) for row in rows[1:4]] == [
        ("node-3", "courier", "1.0 2.0"),
        ("both", "courier", "2.0 2.0 (the newest)"),
        ("both", "restic", "1.0 refused: NoRelease"),
    ]  # fmt: skip
    assert "refused: NoRelease, 1 of 3: no release of restic is offered for linux-amd64" in shown.stdout
    assert shown.stdout.endswith(
        "would upgrade 3 clients on 2 hosts, of which 1 is current already; 1 would be refused; nothing was changed\n"
    )
    document = json.loads(racks.run("client", "roll-back", "--all", "--dry-run", "--json").stdout)
    assert {row["THEN"] for row in document} == {"the version before"}
    assert not [name for name, _ in racks.asked if name not in READING]


@pytest.fixture
def pinned(racks: Fleet) -> Iterator[str]:
    """A host whose client stays where it is, for a while."""
    done = racks.run("client", "pin", "node-4", "--reason", "the books are closed", "--until", "30d")
    assert done.exit_code == 0, done.output
    yield "node-4"
    assert racks.run("client", "unpin", "node-4").exit_code == 0


@pytest.mark.parametrize("verb", ["upgrade", "roll-back", "uninstall", "precheck", "stage"])
def test_a_dry_run_says_what_a_pin_would_refuse_and_why(racks: Fleet, pinned: str, verb: str) -> None:
    """Of every verb that a pin stops: the real call refuses the same client with the same words."""
    shown = racks.run("client", verb, "node-3", pinned, "--dry-run")
    row = next(line for line in shown.stdout.splitlines() if line.startswith("node-4"))
    assert row.endswith("refused: Pinned"), shown.output
    assert "refused" not in next(line for line in shown.stdout.splitlines() if line.startswith("node-3"))
    assert "the books are closed" in shown.stdout
    assert "; 1 would be refused; nothing was changed" in shown.stdout
    document = json.loads(racks.run("client", verb, "node-3", pinned, "--dry-run", "--json").stdout)
    assert [each.get("ErrorCode", "") for each in document] == ["", "Pinned"]
    assert "Wait, or delete the pin" in document[1]["ErrorMessage"]
    assert not [name for name, _ in racks.asked if name not in READING]


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("upgrade", "node-3", "--version", "9.9"), "NoRelease", "9.9"),
        (("upgrade", "both", "--where", "package=courier", "--version", "1.0"), "NotAllowedFrom", "1.0"),
        (("roll-back", "node-3", "--version", "2.0"), "NotAllowedFrom", "2.0 is newer than 1.0"),
    ],
)
def test_a_dry_run_says_that_a_version_cannot_be_had(
    racks: Fleet, arguments: tuple[str, ...], code: str, why: str
) -> None:
    """One that is not offered, one that is a step down, and one that is a step up."""
    (row,) = json.loads(racks.run("client", *arguments, "--dry-run", "--json").stdout)
    assert (row["THEN"], row["ErrorCode"]) == (f"refused: {code}", code)
    assert why in row["ErrorMessage"]


def test_a_dry_run_of_somebody_who_may_not_ask_for_refusals_shows_the_rest(racks: Fleet) -> None:
    """An older server does not know the question, either."""
    racks.refuse = lambda action, _given: CallFailed("Not yours.") if action == "PreviewClients" else None
    try:
        shown = racks.run("client", "upgrade", "node-3", "--dry-run")
    finally:
        racks.refuse = lambda _action, _given: None
    assert (shown.exit_code, "note: what would be refused is not known: Not yours." in shown.stderr) == (0, True)
    assert shown.stdout.endswith("would upgrade 1 client on 1 host; nothing was changed\n")


def test_a_host_that_is_named_does_not_lose_all_its_clients_unasked(racks: Fleet) -> None:
    """In a script that is refused, with the clients; one of them alone is removed."""
    refused = racks.run("client", "uninstall", "both")
    assert (refused.exit_code, "uninstall 2 clients on 1 host (both courier, both restic)" in refused.stderr) == (
        1,
        True,
    )
    by_id = racks.run("client", "uninstall", "--instance", racks.run_json("client", "list", "both")[0]["InstanceId"])
    assert (by_id.exit_code, racks.calls("UninstallBackupClients")) == (1, [])
    assert racks.run("client", "uninstall", "both", "--where", "package=restic").exit_code == 0
    assert len(racks.calls("UninstallBackupClients")[0]["ClientIds"]) == 1


@pytest.mark.parametrize(("answer", "removed"), [("y\n", 1), ("n\n", 0), ("\n", 0), ("", 0)])
def test_on_a_terminal_a_removal_asks_and_lists(
    racks: Fleet, monkeypatch: pytest.MonkeyPatch, answer: str, removed: int
) -> None:
    """No is the default."""
    monkeypatch.setattr(_confirming, "can_answer", lambda: True)
    done = racks.run("client", "uninstall", "node-1", text=answer)
    assert "HOST    INSTANCE" in done.stderr
    assert "Uninstall 1 client on 1 host? [y/N]" in done.stderr
    assert (done.exit_code == 0, len(racks.calls("UninstallBackupClients"))) == (bool(removed), removed)
