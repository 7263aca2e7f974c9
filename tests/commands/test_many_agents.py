"""Many agents in one transaction: each gets and reports what it would alone."""

from datetime import timedelta

import pytest

from backfleet import commands, fleet
from backfleet.commands import AgentReport, FinalReport, Handout, State, sending
from backfleet.fleet import AgentRun
from commands.helpers import HANDED, HOST, OTHER_HOST, RUNNING, TOPIC, Helpers

THIRD_HOST = "mi-3"


def claim_for_each(helpers: Helpers, *hosts: str, at: float = 0) -> dict[str, Handout]:
    with helpers.transaction() as tx:
        return commands.claim_for_each(tx, hosts, now=helpers.moment(at), lease=HANDED)


def report(helpers: Helpers, *reports: AgentReport) -> list[bool]:
    with helpers.transaction() as tx:
        return commands.record_reports(tx, reports, lease=RUNNING)


def test_each_agent_is_handed_what_is_for_its_host(helpers: Helpers) -> None:
    """The oldest first, and no more than one agent runs at once; an agent without work is handed nothing."""
    most = sending.RUN_AT_ONCE
    helpers.send("r-0", host=OTHER_HOST, content="other")
    for number in range(most + 2):
        helpers.send(f"r-{number}", topic="many", content=str(number), at=number)
    found = claim_for_each(helpers, HOST, THIRD_HOST, OTHER_HOST, at=60)
    assert set(found) == {HOST, OTHER_HOST}
    assert [command.content for command in found[HOST].run] == [str(number) for number in range(most)]
    assert [command.content for command in found[OTHER_HOST].run] == ["other"]
    nothing_yet = {HOST: Handout([], [])}  # the rest waits until something ends
    assert claim_for_each(helpers, HOST, THIRD_HOST, OTHER_HOST, at=61) == nothing_yet
    helpers.end(found[HOST].run[3].task_id, at=62)
    assert [command.content for command in claim_for_each(helpers, HOST, OTHER_HOST, at=63)[HOST].run] == [str(most)]


def test_each_agent_is_told_what_to_stop_on_its_host(helpers: Helpers) -> None:
    """Beside what it is to run; one whose outcome is not known is stopped, too."""
    mine = helpers.running("mine")
    helpers.send("theirs", host=OTHER_HOST)
    (theirs,) = claim_for_each(helpers, OTHER_HOST)[OTHER_HOST].run
    helpers.sweep(at=RUNNING.total_seconds() + 1)
    assert helpers.state("mine") is State.LOST
    (theirs,) = claim_for_each(helpers, OTHER_HOST)[OTHER_HOST].run
    helpers.stop("mine", "theirs")
    helpers.send("next")
    found = claim_for_each(helpers, HOST, OTHER_HOST)
    assert (found[HOST].stop, found[OTHER_HOST].stop) == ([mine], [theirs.task_id])
    assert (len(found[HOST].run), len(found[OTHER_HOST].run)) == (1, 0)


def test_a_host_that_two_machines_claim_to_be_keeps_nobody_else_waiting(helpers: Helpers) -> None:
    """It is handed nothing; the others of the same transaction are."""
    now = helpers.moment(0)
    helpers.send("r-1")
    helpers.send("r-2", host=OTHER_HOST)
    with helpers.transaction() as tx:
        for mark in ("one", "other"):
            fleet.note_run(tx, AgentRun(HOST, mark, now - timedelta(minutes=2), now, "", "", ""))
    found = claim_for_each(helpers, HOST, OTHER_HOST)
    assert found[HOST].run == []
    assert len(found[OTHER_HOST].run) == 1
    assert helpers.state("r-1") is State.WAITING


def test_reports_of_many_are_recorded_each_by_itself(helpers: Helpers) -> None:
    """Output, ends, copies, and reports on what is another host's: each has its own result."""
    first, second = helpers.running("first"), helpers.running("second")
    helpers.collect()
    helpers.clear_published()
    end = FinalReport("finish", exit_code=0, output=b"end\n")
    at = helpers.moment(5)
    assert report(
        helpers,
        AgentReport(HOST, first, at, chunk=b"one\n"),
        AgentReport(HOST, second, at),
        AgentReport(OTHER_HOST, first, at, end),
        AgentReport(HOST, "t-unknown", at, end),
        AgentReport(HOST, "", at, end),
        AgentReport(HOST, first, at, chunk=b"two\n"),
        AgentReport(HOST, first, at, end),
        AgentReport(HOST, first, at, end),
        AgentReport(HOST, first, at, chunk=b"late\n"),
    ) == [True, True, False, False, False, True, True, False, False]
    assert (helpers.state("first"), helpers.state("second")) == (State.FINISHED, State.RUNNING)
    (outcome,) = helpers.news()
    assert (outcome.task_id, outcome.output, outcome.changed_at) == (first, b"one\ntwo\nend\n", at)
    assert helpers.row("second").lease_until == at + RUNNING
    assert helpers.row("first").lease_until is None
    assert helpers.published == [TOPIC]


def test_an_end_among_many_makes_place_for_what_waits_on_its_host_alone(helpers: Helpers) -> None:
    """Its agent is notified; that of a host without an end is not."""
    ended = helpers.running("ended")
    helpers.send("waits")
    helpers.send("elsewhere", host=OTHER_HOST)
    (command,) = claim_for_each(helpers, OTHER_HOST)[OTHER_HOST].run
    helpers.send("waits elsewhere", host=OTHER_HOST)
    helpers.clear_published()
    at = helpers.moment(1)
    reports = AgentReport(HOST, ended, at, FinalReport("finish")), AgentReport(OTHER_HOST, command.task_id, at)
    assert report(helpers, *reports) == [True, True]
    assert sorted(helpers.published) == ["instance/mi-1", TOPIC]


@pytest.mark.parametrize("kind", ["stopped", "timeout"])
def test_output_after_a_stop_is_doubted_for_its_host_alone(helpers: Helpers, kind: str) -> None:
    """Whatever goes on there changes nothing of the other reports."""
    stopped, runs = helpers.running("stopped"), helpers.running("runs")
    helpers.end(stopped, kind)
    at = helpers.moment(2)
    assert report(helpers, AgentReport(HOST, stopped, at, chunk=b"x"), AgentReport(HOST, runs, at, chunk=b"y")) == [
        False,
        True,
    ]
    assert helpers.row("stopped").output == b""
    assert helpers.row("runs").output == b"y"
