"""From the agent to the sender: output within bounds, one end, and news until it is collected."""

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet import commands
from backfleet.commands import FINAL_REPORTS, LONGEST_OUTPUT, FinalReport, State
from backfleet.commands.reporting import with_chunk
from commands.helpers import HOST, OTHER_HOST, OTHER_TOPIC, TOPIC, Helpers


def test_output_is_collected_in_chunks(helpers: Helpers) -> None:
    """Each is news at once, and the final report adds the rest."""
    task_id = helpers.running()
    for at, chunk in enumerate((b"one\n", b"\xff\0", b"three")):
        helpers.clear_published()
        assert helpers.hear(task_id, chunk, at=at)
        assert helpers.published == [TOPIC]
    assert helpers.end(task_id, exit_code=3, output=b"end\n", dropped=7, started_ms=5, ended_ms=9, at=4)
    (outcome,) = helpers.news()
    assert (outcome.output, outcome.exit_code, outcome.state) == (b"one\n\xff\0threeend\n", 3, State.FINISHED)
    assert (outcome.task_id, outcome.reference, outcome.changed_at) == (task_id, "r-1", helpers.moment(4))
    row = helpers.row()
    assert (row.dropped, row.started_ms, row.ended_ms) == (7, 1000, 9)


def test_a_bare_heartbeat_is_no_news(helpers: Helpers) -> None:
    """The first one is: the command runs."""
    task_id = helpers.handed()
    helpers.clear_published()
    assert helpers.hear(task_id)
    assert helpers.published == [TOPIC]
    assert [outcome.state for outcome in helpers.collect()] == [State.RUNNING]
    helpers.clear_published()
    assert helpers.hear(task_id, at=5)
    assert helpers.published == []
    assert helpers.news() == []


@given(chunks=st.lists(st.integers(0, 20_000), max_size=8))
def test_the_head_and_the_tail_of_output_are_kept(chunks: list[int]) -> None:
    """Never more than the limit; what fell out is counted; the last line is always kept."""
    everything, kept, lost = b"", b"", 0
    for number, size in enumerate(chunks):
        chunk = bytes([number]) * size
        everything += chunk
        kept, more = with_chunk(kept, chunk)
        lost += more
    assert len(kept) == min(len(everything), LONGEST_OUTPUT)
    assert len(kept) + lost == len(everything)
    head = min(len(kept), LONGEST_OUTPUT // 2)
    assert kept[:head] == everything[:head]
    assert everything.endswith(kept[head:])


def test_dropped_counts_what_the_agent_lost_and_what_we_did(helpers: Helpers) -> None:
    """On both engines, bytes are stored as they came."""
    task_id = helpers.running()
    helpers.hear(task_id, b"h" * LONGEST_OUTPUT)
    helpers.hear(task_id, b"m" * 100)
    helpers.end(task_id, output=b"report\n", dropped=1000)
    row = helpers.row()
    assert row.dropped == 100 + 7 + 1000
    assert len(row.output) == LONGEST_OUTPUT
    assert bytes(row.output).endswith(b"m" * 100 + b"report\n")


@pytest.mark.parametrize("first", sorted(FINAL_REPORTS))
@pytest.mark.parametrize("then", sorted(FINAL_REPORTS))
def test_the_first_final_report_wins(helpers: Helpers, first: str, then: str) -> None:
    """Copies and other final reports change nothing, nor does output after the end."""
    task_id = helpers.running()
    assert helpers.end(task_id, first, exit_code=1, error_code="1", error_text="why", output=b"first")
    before = helpers.row()
    helpers.clear_published()
    assert not helpers.end(task_id, then, exit_code=2, output=b"then", at=1)
    assert not helpers.hear(task_id, b"after", at=1)
    assert helpers.row() == before
    assert helpers.published == []
    (outcome,) = helpers.news()
    assert (outcome.state, outcome.is_final, outcome.exit_code) == (FINAL_REPORTS[first], True, 1)
    assert (outcome.error_code, outcome.error_text, outcome.output) == ("1", "why", b"first")


@pytest.mark.parametrize("kind", sorted(FINAL_REPORTS))
def test_a_final_report_may_come_before_any_output(helpers: Helpers, kind: str) -> None:
    """Agents send `running` only once, and it may be lost."""
    task_id = helpers.handed()
    assert helpers.end(task_id, kind, started_ms=5, ended_ms=6)
    row = helpers.row()
    assert (row.state, row.started_ms, row.ended_ms) == (FINAL_REPORTS[kind], 5, 6)


def test_another_hosts_report_is_refused(helpers: Helpers) -> None:
    """To know the id is not enough. An unknown id is harmless."""
    task_id = helpers.running()
    before = helpers.row()
    helpers.clear_published()
    assert not helpers.end(task_id, host=OTHER_HOST, exit_code=0)
    assert not helpers.hear(task_id, b"forged", host=OTHER_HOST)
    assert not helpers.end("t-unknown")
    assert not helpers.hear("t-unknown")
    assert helpers.row() == before
    assert helpers.published == []


@pytest.mark.parametrize("kind", sorted(FINAL_REPORTS))
def test_a_lost_command_may_still_report_its_end(helpers: Helpers, kind: str) -> None:
    """With the output from before it was lost."""
    task_id = helpers.running()
    helpers.hear(task_id, b"begun\n")
    helpers.sweep(at=91)
    assert [(outcome.state, outcome.is_final) for outcome in helpers.collect()] == [(State.LOST, False)]
    helpers.clear_published()
    assert helpers.end(task_id, kind, output=b"ended\n", at=5000)
    assert helpers.published == [TOPIC]
    assert [(o.state, o.output) for o in helpers.collect()] == [(FINAL_REPORTS[kind], b"begun\nended\n")]


def test_a_lost_command_may_be_heard_of_again(helpers: Helpers) -> None:
    """It runs after all, under a new lease."""
    task_id = helpers.running()
    helpers.sweep(at=91)
    helpers.collect()
    assert helpers.hear(task_id, at=100)
    assert [outcome.state for outcome in helpers.collect()] == [State.RUNNING]
    assert helpers.sweep(at=190) == 0
    assert helpers.sweep(at=191) == 1


@pytest.mark.parametrize("before", [State.HANDED, State.WAITING, State.RUNNING])
def test_started_before_is_not_taken_for_an_outcome(helpers: Helpers, before: State) -> None:
    """The agent's -9 says that this id ran or runs. Its outcome is not guessed; its final report may still come."""
    task_id = helpers.running() if before is State.RUNNING else helpers.handed()
    if before is State.WAITING:
        helpers.sweep(at=11)
    assert helpers.state() is before
    assert helpers.end(task_id, "error", exit_code=0, error_code="-9", error_text="exists", at=12)
    assert helpers.state() is State.LOST
    assert not helpers.end(task_id, "error", error_code="-9", at=12)
    assert helpers.claim(at=12).run == []
    assert helpers.end(task_id, exit_code=0, at=13)
    (outcome,) = helpers.news()
    assert (outcome.state, outcome.exit_code, outcome.error_code, outcome.error_text) == (State.FINISHED, 0, "", "")


def test_started_before_is_ignored_after_the_end(helpers: Helpers) -> None:
    """The agent may have been given one id twice."""
    task_id = helpers.running()
    helpers.end(task_id, exit_code=0)
    assert not helpers.end(task_id, "error", error_code="-9")
    assert helpers.state() is State.FINISHED


# --- News -----------------------------------------------------------------------------------------------------------


def test_news_is_returned_until_it_is_collected(helpers: Helpers) -> None:
    """Oldest first, as many as asked for, to its sender only."""
    helpers.send("r-1", "r-2", "r-3")
    helpers.send("r-4", topic=OTHER_TOPIC)
    ids = {helpers.row(f"r-{number}").id: number for number in (1, 2, 3, 4)}
    helpers.claim()
    for at, number in enumerate((2, 4, 1, 3)):
        helpers.end(next(task_id for task_id, found in ids.items() if found == number), at=at)
    assert [outcome.reference for outcome in helpers.news()] == ["r-2", "r-1", "r-3"]
    assert [outcome.reference for outcome in helpers.collect(limit=2)] == ["r-2", "r-1"]
    assert [outcome.reference for outcome in helpers.collect()] == ["r-3"]
    assert helpers.collect() == []
    assert [outcome.reference for outcome in helpers.news(OTHER_TOPIC)] == ["r-4"]


def test_what_changed_after_the_news_was_read_stays_news(helpers: Helpers) -> None:
    """The sender marks the revision that it has read."""
    task_id = helpers.running()
    seen = helpers.news()
    helpers.end(task_id, exit_code=0)
    with helpers.transaction() as tx:
        commands.mark_collected(tx, seen)
    (outcome,) = helpers.collect()
    assert outcome.state is State.FINISHED
    assert outcome.revision > seen[0].revision
    assert helpers.news() == []


def test_collecting_nothing_is_harmless(helpers: Helpers) -> None:
    """As after an empty round."""
    with helpers.transaction() as tx:
        commands.mark_collected(tx, [])


# --- Races ----------------------------------------------------------------------------------------------------------


def test_two_collectors_see_different_news(replicas: Helpers) -> None:
    """What one is about to collect is skipped by the other; if the first one dies, it is news again."""
    replicas.running()
    with pytest.raises(RuntimeError), replicas.transaction() as first:
        commands.mark_collected(first, commands.outcomes(first, TOPIC, limit=10))
        assert replicas.news() == []
        raise RuntimeError("the power fails")
    assert len(replicas.news()) == 1


def test_of_two_final_reports_at_once_one_counts(replicas: Helpers) -> None:
    """A slow server may get a copy while it handles the first one."""
    task_id = replicas.running()
    results: list[Any] = []
    second = threading.Thread(target=lambda: results.append(replicas.end(task_id, "stopped")))
    with replicas.transaction() as tx:
        assert commands.record_final_report(tx, HOST, task_id, FinalReport("finish", exit_code=0), now=replicas.now)
        second.start()
        second.join(0.3)  # it reaches the row that it has to wait for
        assert results == []
    second.join(10)
    assert results == [False]
    assert replicas.state() is State.FINISHED


def test_chunks_that_come_at_once_are_all_kept(helpers: Helpers) -> None:
    """None overwrites another."""
    task_id = helpers.running()
    threads = [threading.Thread(target=helpers.hear, args=(task_id, b"%d" % number)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(bytes(helpers.row().output)) == sorted(b"01234567")
