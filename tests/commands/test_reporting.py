"""From the agent to the sender: output within bounds, one end, and news that is told until it is collected."""

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet import commands
from backfleet.commands import FINAL_REPORTS, LONGEST_OUTPUT, FinalReport, State
from backfleet.commands.reporting import with_chunk
from commands.helpers import HOST, OTHER_HOST, OTHER_TOPIC, TOPIC, Helpers


def test_output_comes_in_chunks(helpers: Helpers) -> None:
    """Each is news at once, and the end adds the rest."""
    task_id = helpers.running()
    for at, chunk in enumerate((b"one\n", b"\xff\0", b"three")):
        helpers.silence()
        assert helpers.hear(task_id, chunk, at=at)
        assert helpers.published == [TOPIC]
    assert helpers.end(task_id, exit_code=3, output=b"end\n", dropped=7, started_ms=5, ended_ms=9, at=4)
    (told,) = helpers.news()
    assert (told.output, told.exit_code, told.state) == (b"one\n\xff\0threeend\n", 3, State.FINISHED)
    assert (told.task_id, told.reference, told.changed_at) == (task_id, "r-1", helpers.moment(4))
    row = helpers.row()
    assert (row.dropped, row.started_ms, row.ended_ms) == (7, 1000, 9)


def test_a_bare_sign_of_life_is_no_news(helpers: Helpers) -> None:
    """The first one is: it runs."""
    task_id = helpers.handed()
    helpers.silence()
    assert helpers.hear(task_id)
    assert helpers.published == [TOPIC]
    assert [outcome.state for outcome in helpers.collect()] == [State.RUNNING]
    helpers.silence()
    assert helpers.hear(task_id, at=5)
    assert helpers.published == []
    assert helpers.news() == []


@given(chunks=st.lists(st.integers(0, 20_000), max_size=8))
def test_head_and_tail_are_kept(chunks: list[int]) -> None:
    """Never more than the limit; what fell out is counted; the last line is always there."""
    whole, kept, lost = b"", b"", 0
    for number, size in enumerate(chunks):
        chunk = bytes([number]) * size
        whole += chunk
        kept, more = with_chunk(kept, chunk)
        lost += more
    assert len(kept) == min(len(whole), LONGEST_OUTPUT)
    assert len(kept) + lost == len(whole)
    head = min(len(kept), LONGEST_OUTPUT // 2)
    assert kept[:head] == whole[:head]
    assert whole.endswith(kept[head:])


def test_dropped_is_what_the_agent_lost_and_what_we_did(helpers: Helpers) -> None:
    """On both engines bytes are kept as they came."""
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
def test_the_first_end_wins(helpers: Helpers, first: str, then: str) -> None:
    """Copies and other ends are harmless, and so is output after the end."""
    task_id = helpers.running()
    assert helpers.end(task_id, first, exit_code=1, error_code="1", error_text="why", output=b"first")
    before = helpers.row()
    helpers.silence()
    assert not helpers.end(task_id, then, exit_code=2, output=b"then", at=1)
    assert not helpers.hear(task_id, b"after", at=1)
    assert helpers.row() == before
    assert helpers.published == []
    (told,) = helpers.news()
    assert (told.state, told.is_final, told.exit_code) == (FINAL_REPORTS[first], True, 1)
    assert (told.error_code, told.error_text, told.output) == ("1", "why", b"first")


@pytest.mark.parametrize("kind", sorted(FINAL_REPORTS))
def test_an_end_may_come_before_any_output(helpers: Helpers, kind: str) -> None:
    """A `running` is tried once only and may be missing."""
    task_id = helpers.handed()
    assert helpers.end(task_id, kind, started_ms=5, ended_ms=6)
    row = helpers.row()
    assert (row.state, row.started_ms, row.ended_ms) == (FINAL_REPORTS[kind], 5, 6)


def test_another_hosts_report_is_refused(helpers: Helpers) -> None:
    """Knowing the id is not enough; nor does an unknown id matter."""
    task_id = helpers.running()
    before = helpers.row()
    helpers.silence()
    assert not helpers.end(task_id, host=OTHER_HOST, exit_code=0)
    assert not helpers.hear(task_id, b"lies", host=OTHER_HOST)
    assert not helpers.end("t-unknown")
    assert not helpers.hear("t-unknown")
    assert helpers.row() == before
    assert helpers.published == []


@pytest.mark.parametrize("kind", sorted(FINAL_REPORTS))
def test_the_truth_may_come_late(helpers: Helpers, kind: str) -> None:
    """It was lost; then its end is told after all, with the output from before."""
    task_id = helpers.running()
    helpers.hear(task_id, b"begun\n")
    helpers.sweep(at=91)
    assert [(outcome.state, outcome.is_final) for outcome in helpers.collect()] == [(State.LOST, False)]
    helpers.silence()
    assert helpers.end(task_id, kind, output=b"ended\n", at=5000)
    assert helpers.published == [TOPIC]
    assert [(o.state, o.output) for o in helpers.collect()] == [(FINAL_REPORTS[kind], b"begun\nended\n")]


def test_a_lost_one_may_be_heard_again(helpers: Helpers) -> None:
    """It runs after all, and has its lease again."""
    task_id = helpers.running()
    helpers.sweep(at=91)
    helpers.collect()
    assert helpers.hear(task_id, at=100)
    assert [outcome.state for outcome in helpers.collect()] == [State.RUNNING]
    assert helpers.sweep(at=190) == 0
    assert helpers.sweep(at=191) == 1


@pytest.mark.parametrize("before", [State.HANDED, State.WAITING, State.RUNNING])
def test_started_before_is_no_outcome(helpers: Helpers, before: State) -> None:
    """The agent's -9 says that this id ran or runs: what became of it is not guessed, and the truth may still come."""
    task_id = helpers.running() if before is State.RUNNING else helpers.handed()
    if before is State.WAITING:
        helpers.sweep(at=11)
    assert helpers.state() is before
    assert helpers.end(task_id, "error", exit_code=0, error_code="-9", error_text="exists", at=12)
    assert helpers.state() is State.LOST
    assert not helpers.end(task_id, "error", error_code="-9", at=12)
    assert helpers.claim(at=12).run == []
    assert helpers.end(task_id, exit_code=0, at=13)
    (told,) = helpers.news()
    assert (told.state, told.exit_code, told.error_code, told.error_text) == (State.FINISHED, 0, "", "")


def test_started_before_says_nothing_after_the_end(helpers: Helpers) -> None:
    """Two lists may name one id around its end."""
    task_id = helpers.running()
    helpers.end(task_id, exit_code=0)
    assert not helpers.end(task_id, "error", error_code="-9")
    assert helpers.state() is State.FINISHED


# --- News -----------------------------------------------------------------------------------------------------------


def test_news_is_told_until_it_is_collected(helpers: Helpers) -> None:
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


def test_what_changed_after_the_look_stays_news(helpers: Helpers) -> None:
    """The sender says which revision it knows."""
    task_id = helpers.running()
    seen = helpers.news()
    helpers.end(task_id, exit_code=0)
    with helpers.transaction() as tx:
        commands.mark_collected(tx, seen)
    (told,) = helpers.collect()
    assert told.state is State.FINISHED
    assert told.revision > seen[0].revision
    assert helpers.news() == []


def test_nothing_collected_is_nothing(helpers: Helpers) -> None:
    """An empty look ends well."""
    with helpers.transaction() as tx:
        commands.mark_collected(tx, [])


# --- Races ----------------------------------------------------------------------------------------------------------


def test_two_collectors_see_different_news(replicas: Helpers) -> None:
    """What one is about to collect, the other does not see; if the first dies, it is news again."""
    replicas.running()
    with pytest.raises(RuntimeError), replicas.transaction() as first:
        commands.mark_collected(first, commands.outcomes(first, TOPIC, limit=10))
        assert replicas.news() == []
        raise RuntimeError("the power fails")
    assert len(replicas.news()) == 1


def test_two_ends_at_once(replicas: Helpers) -> None:
    """A slow server gets copies while the first is in work: one of them counts."""
    task_id = replicas.running()
    told: list[Any] = []
    second = threading.Thread(target=lambda: told.append(replicas.end(task_id, "stopped")))
    with replicas.transaction() as tx:
        assert commands.record_final_report(tx, HOST, task_id, FinalReport("finish", exit_code=0), now=replicas.now)
        second.start()
        second.join(0.3)  # it comes to wait for the row
        assert told == []
    second.join(10)
    assert told == [False]
    assert replicas.state() is State.FINISHED


def test_chunks_at_once_are_all_kept(helpers: Helpers) -> None:
    """None overwrites another."""
    task_id = helpers.running()
    threads = [threading.Thread(target=helpers.hear, args=(task_id, b"%d" % number)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(bytes(helpers.row().output)) == sorted(b"01234567")
