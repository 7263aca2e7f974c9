"""From the agent to the sender: output within bounds, one end, and news that is told until it is collected."""

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet import commands
from backfleet.commands import ENDINGS, LONGEST_OUTPUT, Ending, State
from backfleet.commands.reporting import with_chunk
from commands.hands import HOST, OTHER_HOST, OTHER_TOPIC, TOPIC, Hands


def test_output_comes_in_chunks(hands: Hands) -> None:
    """Each is news at once, and the end adds the rest."""
    task_id = hands.running()
    for at, chunk in enumerate((b"one\n", b"\xff\0", b"three")):
        hands.silence()
        assert hands.hear(task_id, chunk, at=at)
        assert hands.published == [TOPIC]
    assert hands.end(task_id, exit_code=3, output=b"end\n", dropped=7, started_ms=5, ended_ms=9, at=4)
    (told,) = hands.news()
    assert (told.output, told.exit_code, told.state) == (b"one\n\xff\0threeend\n", 3, State.FINISHED)
    assert (told.task_id, told.reference, told.changed_at) == (task_id, "r-1", hands.moment(4))
    row = hands.row()
    assert (row.dropped, row.started_ms, row.ended_ms) == (7, 1000, 9)


def test_a_bare_sign_of_life_is_no_news(hands: Hands) -> None:
    """The first one is: it runs."""
    task_id = hands.handed()
    hands.silence()
    assert hands.hear(task_id)
    assert hands.published == [TOPIC]
    assert [outcome.state for outcome in hands.collect()] == [State.RUNNING]
    hands.silence()
    assert hands.hear(task_id, at=5)
    assert hands.published == []
    assert hands.news() == []


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


def test_dropped_is_what_the_agent_lost_and_what_we_did(hands: Hands) -> None:
    """On both engines bytes are kept as they came."""
    task_id = hands.running()
    hands.hear(task_id, b"h" * LONGEST_OUTPUT)
    hands.hear(task_id, b"m" * 100)
    hands.end(task_id, output=b"report\n", dropped=1000)
    row = hands.row()
    assert row.dropped == 100 + 7 + 1000
    assert len(row.output) == LONGEST_OUTPUT
    assert bytes(row.output).endswith(b"m" * 100 + b"report\n")


@pytest.mark.parametrize("first", sorted(ENDINGS))
@pytest.mark.parametrize("then", sorted(ENDINGS))
def test_the_first_end_wins(hands: Hands, first: str, then: str) -> None:
    """Copies and other ends are harmless, and so is output after the end."""
    task_id = hands.running()
    assert hands.end(task_id, first, exit_code=1, error_code="1", error_text="why", output=b"first")
    before = hands.row()
    hands.silence()
    assert not hands.end(task_id, then, exit_code=2, output=b"then", at=1)
    assert not hands.hear(task_id, b"after", at=1)
    assert hands.row() == before
    assert hands.published == []
    (told,) = hands.news()
    assert (told.state, told.is_final, told.exit_code) == (ENDINGS[first], True, 1)
    assert (told.error_code, told.error_text, told.output) == ("1", "why", b"first")


@pytest.mark.parametrize("kind", sorted(ENDINGS))
def test_an_end_may_come_before_any_output(hands: Hands, kind: str) -> None:
    """A `running` is tried once only and may be missing."""
    task_id = hands.handed()
    assert hands.end(task_id, kind, started_ms=5, ended_ms=6)
    row = hands.row()
    assert (row.state, row.started_ms, row.ended_ms) == (ENDINGS[kind], 5, 6)


def test_another_hosts_report_is_refused(hands: Hands) -> None:
    """Knowing the id is not enough; nor does an unknown id matter."""
    task_id = hands.running()
    before = hands.row()
    hands.silence()
    assert not hands.end(task_id, host=OTHER_HOST, exit_code=0)
    assert not hands.hear(task_id, b"lies", host=OTHER_HOST)
    assert not hands.end("t-unknown")
    assert not hands.hear("t-unknown")
    assert hands.row() == before
    assert hands.published == []


@pytest.mark.parametrize("kind", sorted(ENDINGS))
def test_the_truth_may_come_late(hands: Hands, kind: str) -> None:
    """It was lost; then its end is told after all, with the output from before."""
    task_id = hands.running()
    hands.hear(task_id, b"begun\n")
    hands.sweep(at=91)
    assert [(outcome.state, outcome.is_final) for outcome in hands.collect()] == [(State.LOST, False)]
    hands.silence()
    assert hands.end(task_id, kind, output=b"ended\n", at=5000)
    assert hands.published == [TOPIC]
    assert [(o.state, o.output) for o in hands.collect()] == [(ENDINGS[kind], b"begun\nended\n")]


def test_a_lost_one_may_be_heard_again(hands: Hands) -> None:
    """It runs after all, and has its lease again."""
    task_id = hands.running()
    hands.sweep(at=91)
    hands.collect()
    assert hands.hear(task_id, at=100)
    assert [outcome.state for outcome in hands.collect()] == [State.RUNNING]
    assert hands.sweep(at=190) == 0
    assert hands.sweep(at=191) == 1


@pytest.mark.parametrize("before", [State.HANDED, State.WAITING, State.RUNNING])
def test_started_before_is_no_outcome(hands: Hands, before: State) -> None:
    """The agent's -9 says that this id ran or runs: what became of it is not guessed, and the truth may still come."""
    task_id = hands.running() if before is State.RUNNING else hands.handed()
    if before is State.WAITING:
        hands.sweep(at=11)
    assert hands.state() is before
    assert hands.end(task_id, "error", exit_code=0, error_code="-9", error_text="exists", at=12)
    assert hands.state() is State.LOST
    assert not hands.end(task_id, "error", error_code="-9", at=12)
    assert hands.claim(at=12).run == []
    assert hands.end(task_id, exit_code=0, at=13)
    (told,) = hands.news()
    assert (told.state, told.exit_code, told.error_code, told.error_text) == (State.FINISHED, 0, "", "")


def test_started_before_says_nothing_after_the_end(hands: Hands) -> None:
    """Two lists may name one id around its end."""
    task_id = hands.running()
    hands.end(task_id, exit_code=0)
    assert not hands.end(task_id, "error", error_code="-9")
    assert hands.state() is State.FINISHED


# --- News -----------------------------------------------------------------------------------------------------------


def test_news_is_told_until_it_is_collected(hands: Hands) -> None:
    """Oldest first, as many as asked for, to its sender only."""
    hands.send("r-1", "r-2", "r-3")
    hands.send("r-4", topic=OTHER_TOPIC)
    ids = {hands.row(f"r-{number}").id: number for number in (1, 2, 3, 4)}
    hands.claim()
    for at, number in enumerate((2, 4, 1, 3)):
        hands.end(next(task_id for task_id, found in ids.items() if found == number), at=at)
    assert [outcome.reference for outcome in hands.news()] == ["r-2", "r-1", "r-3"]
    assert [outcome.reference for outcome in hands.collect(limit=2)] == ["r-2", "r-1"]
    assert [outcome.reference for outcome in hands.collect()] == ["r-3"]
    assert hands.collect() == []
    assert [outcome.reference for outcome in hands.news(OTHER_TOPIC)] == ["r-4"]


def test_what_changed_after_the_look_stays_news(hands: Hands) -> None:
    """The sender says which revision it knows."""
    task_id = hands.running()
    seen = hands.news()
    hands.end(task_id, exit_code=0)
    with hands.transaction() as tx:
        commands.collected(tx, seen)
    (told,) = hands.collect()
    assert told.state is State.FINISHED
    assert told.revision > seen[0].revision
    assert hands.news() == []


def test_nothing_collected_is_nothing(hands: Hands) -> None:
    """An empty look ends well."""
    with hands.transaction() as tx:
        commands.collected(tx, [])


# --- Races ----------------------------------------------------------------------------------------------------------


def test_two_collectors_see_different_news(replicas: Hands) -> None:
    """What one is about to collect, the other does not see; if the first dies, it is news again."""
    replicas.running()
    with pytest.raises(RuntimeError), replicas.transaction() as first:
        commands.collected(first, commands.outcomes(first, TOPIC, limit=10))
        assert replicas.news() == []
        raise RuntimeError("the power fails")
    assert len(replicas.news()) == 1


def test_two_ends_at_once(replicas: Hands) -> None:
    """A slow server gets copies while the first is in work: one of them counts."""
    task_id = replicas.running()
    told: list[Any] = []
    second = threading.Thread(target=lambda: told.append(replicas.end(task_id, "stopped")))
    with replicas.transaction() as tx:
        assert commands.ended(tx, HOST, task_id, Ending("finish", exit_code=0), now=replicas.now)
        second.start()
        second.join(0.3)  # it comes to wait for the row
        assert told == []
    second.join(10)
    assert told == [False]
    assert replicas.state() is State.FINISHED


def test_chunks_at_once_are_all_kept(hands: Hands) -> None:
    """None overwrites another."""
    task_id = hands.running()
    threads = [threading.Thread(target=hands.hear, args=(task_id, b"%d" % number)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(bytes(hands.row().output)) == sorted(b"01234567")
