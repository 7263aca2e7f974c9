"""What a host's word means: decisions, without a database."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.commands import Outcome, State
from backfleet.fleet import ClientStatus
from backfleet.upgrades.items import Item
from backfleet.upgrades.judging import LONGEST_MESSAGE, Later, judge
from backfleet.upgrades.states import FINAL, ItemState, Kind, may_move
from backfleet_host.contract import Report, stage_line
from upgrades.moves import unwell, well

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DEADLINE = NOW + timedelta(minutes=15)


def item(state: ItemState = ItemState.RUNNING, kind: Kind = Kind.UPGRADE, **said: Any) -> Item:
    known: dict[str, Any] = {
        "id": "u-1", "task_id": "t-1", "position": 0, "account_id": "1", "instance_id": "mi-1", "client_id": "c-1",
        "package": "courier", "platform": "linux-amd64", "kind": kind, "state": state, "stage": "", "code": "",
        "message": "", "from_version": "1.0", "to_version": "" if kind is Kind.UNINSTALL else "2.0",
        "current_version": "1.0", "patience": 800, "started_at": None, "completed_at": None,
    }  # fmt: skip
    return Item(**{**known, **said})


def outcome(output: str | bytes = b"", state: State = State.FINISHED, **said: Any) -> Outcome:
    raw = output.encode() if isinstance(output, str) else output
    known = {"exit_code": 0, "error_code": "", "error_text": "", "changed_at": NOW, "revision": 1}
    return Outcome("k-1", "u-1", state, output=raw, **{**known, **said})


def told(report: Report, state: State = State.FINISHED) -> Outcome:
    return outcome(report.as_line(), state)


@pytest.mark.parametrize(
    ("before", "news", "state", "code", "status", "version"),
    [
        pytest.param(item(), told(well(item())), "succeeded", "", "ACTIVATED", "2.0", id="well"),
        pytest.param(item(ItemState.SENT), told(well(item())), "succeeded", "", "ACTIVATED", "2.0",
                     id="well, and that it began was never heard"),
        pytest.param(item(ItemState.LOST), told(well(item())), "succeeded", "", "ACTIVATED", "2.0",
                     id="well, after it was lost"),
        pytest.param(item(), told(well(item()), State.RUNNING), "succeeded", "", "ACTIVATED", "2.0",
                     id="the report is there, the end is not yet"),
        pytest.param(item(), told(well(item()), State.LOST), "succeeded", "", "ACTIVATED", "2.0",
                     id="the report is there, the end was lost"),
        pytest.param(item(), told(well(item(), code="AlreadyCurrent")), "succeeded", "AlreadyCurrent", "ACTIVATED",
                     "2.0", id="it was there already"),
        pytest.param(item(), told(well(item(), version="1.0")), "failed", "InternalError", "UPGRADE_FAILED", "1.0",
                     id="success is claimed, the old version runs"),
        pytest.param(item(), told(well(item(), version="")), "failed", "InternalError", "UPGRADE_FAILED", "",
                     id="success is claimed, nothing is installed"),
        pytest.param(item(), told(unwell(item())), "failed", "RolledBack", "UPGRADE_FAILED", "1.0", id="went back"),
        pytest.param(item(), told(unwell(item(), "RollbackFailed", "2.0")), "failed", "RollbackFailed",
                     "UPGRADE_FAILED", "2.0", id="could not go back"),
        pytest.param(item(), told(unwell(item(), "InternalError", "")), "failed", "InternalError", "UPGRADE_FAILED",
                     None, id="fell over, and did not look"),
        pytest.param(item(), outcome("nothing of ours"), "failed", "InternalError", "UPGRADE_FAILED", None,
                     id="no report"),
        pytest.param(item(), outcome(state=State.TIMED_OUT), "failed", "TaskExpired", "UPGRADE_FAILED", None,
                     id="the agent's time was over"),
        pytest.param(item(), outcome(state=State.STOPPED), "failed", "TaskCancelled", "UPGRADE_FAILED", None,
                     id="stopped on the host"),
        pytest.param(item(ItemState.SENT), outcome(state=State.REFUSED), "failed", "UnsupportedPlatform",
                     "UPGRADE_FAILED", None, id="the agent takes no orders"),
        pytest.param(item(), outcome(state=State.FAILED, error_code="-3", error_text="no room"), "failed",
                     "InternalError", "UPGRADE_FAILED", None, id="the agent could not"),
    ],
)  # fmt: skip
def test_what_ends_an_item(
    before: Item, news: Outcome, state: str, code: str, status: str, version: str | None
) -> None:
    found = judge(before, news, deadline=DEADLINE, later=Later(), now=NOW)
    assert (found.item.state, found.item.code) == (state, code)
    assert found.item.completed_at == NOW
    assert found.item.started_at is not None or before.state is not ItemState.SENT
    assert found.change is not None
    assert (found.change.status, found.change.version) == (ClientStatus(status), version)


@pytest.mark.parametrize(
    ("before", "news", "state", "stage"),
    [
        pytest.param(item(ItemState.SENT), outcome(stage_line("fetch"), State.RUNNING), "running", "fetch", id="began"),
        pytest.param(item(stage="fetch"), outcome(stage_line("switch"), State.RUNNING), "running", "switch", id="on"),
        pytest.param(item(stage="fetch"), outcome("", State.RUNNING), "running", "fetch", id="only alive"),
        pytest.param(item(stage="drain"), outcome("", State.LOST), "lost", "drain", id="lost"),
        pytest.param(item(ItemState.LOST), outcome(stage_line("prove"), State.RUNNING), "running", "prove",
                     id="found again"),
        pytest.param(item(), told(dataclasses.replace(well(item()), order_id="u-2"), State.RUNNING), "running", "",
                     id="another order's report"),
        pytest.param(item(), told(dataclasses.replace(well(item()), package="other"), State.RUNNING), "running", "",
                     id="another package's report"),
    ],
)  # fmt: skip
def test_what_leaves_it_open(before: Item, news: Outcome, state: str, stage: str) -> None:
    """And changes nothing of what is known of the client."""
    found = judge(before, news, deadline=DEADLINE, later=Later(), now=NOW)
    assert (found.item.state, found.item.stage, found.change) == (state, stage, None)
    assert found.item.completed_at is None


@pytest.mark.parametrize(
    ("kind", "state", "version", "status"),
    [
        pytest.param(Kind.INSTALL, "succeeded", "2.0", "ACTIVATED", id="installed"),
        pytest.param(Kind.UNINSTALL, "succeeded", "", "NOT_INSTALLED", id="uninstalled"),
        pytest.param(Kind.UNINSTALL, "failed", "1.0", "UNINSTALL_FAILED", id="still there"),
    ],
)
def test_each_kind_has_its_own_success(kind: Kind, state: str, version: str, status: str) -> None:
    report = Report("u-1", kind.value, "courier", "succeeded", current_version=version)
    found = judge(item(kind=kind), told(report), deadline=DEADLINE, later=Later(), now=NOW)
    assert found.item.state == state
    assert found.change is not None
    assert (found.change.status, found.change.version) == (ClientStatus(status), version)


def test_the_deadline_is_exact() -> None:
    """A second before it counts; at it, the task's time is over, whoever looks first. The client is what it is."""
    before = judge(item(), told(well(item())), deadline=DEADLINE, later=Later(), now=DEADLINE - timedelta(seconds=1))
    assert before.item.state is ItemState.SUCCEEDED
    at = judge(item(), told(well(item())), deadline=DEADLINE, later=Later(), now=DEADLINE)
    assert (at.item.state, at.item.code, at.item.completed_at) == (ItemState.EXPIRED, "TaskExpired", DEADLINE)
    assert at.item.current_version == "2.0"
    assert at.change is not None
    assert (at.change.status, at.change.version) == (ClientStatus.ACTIVATED, "2.0")


@pytest.mark.parametrize("over", sorted(FINAL))
def test_a_late_report_changes_the_client_and_not_the_item(over: ItemState) -> None:
    before = item(over, code="TaskExpired", completed_at=NOW)
    found = judge(before, told(well(before)), deadline=DEADLINE, later=Later(), now=DEADLINE)
    assert (found.item.state, found.item.code, found.item.completed_at) == (over, "TaskExpired", NOW)
    assert found.item.current_version == "2.0"
    assert found.change is not None
    assert (found.change.status, found.change.version) == (ClientStatus.ACTIVATED, "2.0")


def test_a_late_report_leaves_the_status_to_the_task_that_moves_the_client_now() -> None:
    before = item(ItemState.EXPIRED)
    found = judge(before, told(well(before)), deadline=DEADLINE, later=Later(live=True), now=DEADLINE)
    assert found.change is not None
    assert (found.change.status, found.change.version) == (None, "2.0")


def test_an_older_word_than_what_is_known_changes_nothing() -> None:
    before = item(ItemState.EXPIRED)
    found = judge(before, told(well(before)), deadline=DEADLINE, later=Later(heard=True), now=DEADLINE)
    assert found.change is None


@pytest.mark.parametrize(
    "output",
    [
        pytest.param(b'{"report": ' * 20_000, id="nested without end"),
        pytest.param(b"[" * 100_000, id="lists without end"),
        pytest.param(b"\xff\xfe\x00" * 1000, id="no text"),
        pytest.param(b'{"report": {"order_id": "u-1"}}', id="a report that lacks everything"),
        pytest.param(b'{"report": null}\n{"stage": 7}', id="of other kinds"),
        pytest.param(b'{"stage": ["fetch"]}', id="a list for a stage"),
    ],
)
def test_what_a_host_prints_is_not_believed(output: bytes) -> None:
    """Nothing of it is a report; nothing of it breaks the worker."""
    found = judge(item(), outcome(output), deadline=DEADLINE, later=Later(), now=NOW)
    assert (found.item.state, found.item.code) == (ItemState.FAILED, "InternalError")


def test_a_message_is_kept_as_text_within_its_bounds() -> None:
    line = unwell(item(), message="a\0b\ud800c" + "x" * 5000).as_line()
    found = judge(item(), outcome(line), deadline=DEADLINE, later=Later(), now=NOW)
    assert found.item.message.startswith("a?b?cx")
    assert len(found.item.message) <= LONGEST_MESSAGE


words = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([stage_line(stage).encode() for stage in ("fetch", "switch", "back")]),
    st.sampled_from([well(item()), unwell(item()), unwell(item(), "RollbackFailed", "")]).map(
        lambda report: report.as_line().encode()
    ),
)


@given(
    st.sampled_from([state for state in ItemState if state is not ItemState.WAITING]),  # nothing was sent yet
    st.lists(words, max_size=4),
    st.sampled_from(State),
    st.timedeltas(min_value=timedelta(0), max_value=timedelta(minutes=30)),
    st.booleans(),
)
def test_every_word_in_every_state_is_judged(
    state: ItemState, lines: list[bytes], ended: State, after: timedelta, live: bool
) -> None:
    """An item moves as its table says or not at all; what is over stays over; an end has a time and a reason."""
    before = item(state, completed_at=NOW if state in FINAL else None)
    found = judge(before, outcome(b"\n".join(lines), ended), deadline=DEADLINE, later=Later(live=live), now=NOW + after)
    to = found.item.state
    steps = {state, ItemState.RUNNING}  # that it runs may be what nobody heard
    assert to is state or any(may_move(step, to) for step in steps)
    if state in FINAL:
        assert (to, found.item.completed_at) == (state, NOW)
    elif to in FINAL:
        assert found.item.completed_at is not None
        assert found.item.code or to is ItemState.SUCCEEDED
