"""What the news of an order means for its item and its client: a table, then malicious hosts."""

import json
import re
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.carriers import Outcome, State
from backfleet.carriers.ssh import model as ssh_model
from backfleet.commands.states import FINAL as COMMAND_OVER
from backfleet.fleet import Change, ClientStatus
from backfleet.upgrades import Item, ItemState, Kind
from backfleet.upgrades.model import KEEPS_VERSION, STATUS_FAILED, STATUS_SUCCEEDED, STATUS_UNDER_WAY, new_item
from backfleet.upgrades.outcomes import LONGEST_MESSAGE, Judgement, LaterOrders, judge, storable
from backfleet.upgrades.states import FINAL, NEXT
from backfleet_host.contract import CODES, STAGES, stage_line
from upgrades.helpers import LIFE, nobody, report_of

MADE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DEADLINE = MADE + timedelta(seconds=LIFE)
BEGUN = (ItemState.SENT, ItemState.RUNNING)
HOW_TO_COME_TO: dict[str, tuple[ItemState, ...]] = {
    "sent": BEGUN[:1],
    "running": BEGUN,
    "lost": (*BEGUN, ItemState.LOST),
    "lost unheard": (ItemState.SENT, ItemState.LOST),
    "succeeded": (*BEGUN, ItemState.SUCCEEDED),
    "failed": (*BEGUN, ItemState.FAILED),
    "cancelled": (*BEGUN, ItemState.CANCELLED),
    "expired": (*BEGUN, ItemState.EXPIRED),
}


def item(state: str = "running", kind: Kind = Kind.UPGRADE, **more: Any) -> Item:
    target = nobody(1, to_version="" if kind is Kind.UNINSTALL else "2.0", **more)
    made = new_item(target, item_id="u-1", task_id="t-1", position=0, account_id="1", kind=kind, now=MADE)
    for to in HOW_TO_COME_TO[state]:
        made = made.moved(to, at=MADE + timedelta(seconds=1), code="" if to in BEGUN else "Before", message="")
    return made


def outcome(state: State, output: str | bytes = b"", error_code: str = "", error_text: str = "") -> Outcome:
    raw = output if isinstance(output, bytes) else output.encode()
    return Outcome("t-9", "u-1", state, None, error_code, error_text, raw, MADE, 1)


def judged(before: Item, news: Outcome, *, seconds: float = 60, later: LaterOrders | None = None) -> Judgement:
    now = MADE + timedelta(seconds=seconds)
    return judge(before, news, deadline=DEADLINE, later=later or LaterOrders(), now=now)


def printed(report: str, of: Item) -> str:
    """A host's output: `succeeded`, or a code of failure; after a `-` comes the version it has now."""
    first, _, version = report.partition("-")
    if first in ("succeeded", "AlreadyCurrent"):
        facts = {"code": "" if first == "succeeded" else first} | ({"current_version": version} if version else {})
        return report_of(of, **facts).as_line()
    version = {"": of.from_version, "nothing": ""}.get(version, version)
    return report_of(of, "failed", code=first, current_version=version, message=f"why {first}").as_line()


def plain(change: Change | None) -> Change | None:
    """Return a change without what it says of the last failure, which has tests of its own."""
    return change and replace(change, failure=None, has_succeeded=False)


# --- Reports --------------------------------------------------------------------------------------------------------

OK, BAD = ClientStatus.ACTIVATED, ClientStatus.UPGRADE_FAILED


@pytest.mark.parametrize("before", ["sent", "running", "lost", "lost unheard"])
@pytest.mark.parametrize(
    ("report", "state", "code", "status", "version"),
    [
        pytest.param("succeeded", "succeeded", "", OK, "2.0", id="upgraded"),
        pytest.param("AlreadyCurrent", "succeeded", "AlreadyCurrent", OK, "2.0", id="there already"),
        pytest.param("DiskFull", "failed", "DiskFull", BAD, "1.0", id="refused"),
        pytest.param("RolledBack", "failed", "RolledBack", BAD, "1.0", id="rolled back"),
        pytest.param("RollbackFailed-2.0", "failed", "RollbackFailed", BAD, "2.0", id="broken"),
        pytest.param("RollbackFailed-nothing", "failed", "RollbackFailed", BAD, "", id="broken, and nothing runs"),
        pytest.param("InternalError-nothing", "failed", "InternalError", BAD, None, id="it crashed, and cannot know"),
        pytest.param("InternalError-1.0", "failed", "InternalError", BAD, "1.0", id="it crashed, and knows"),
        pytest.param("succeeded-1.5", "failed", "InternalError", BAD, "1.5", id="success with another version"),
    ],
)
@pytest.mark.parametrize("news", [State.FINISHED, State.RUNNING, State.TIMED_OUT, State.LOST])
def test_a_hosts_report_decides(
    before: str, report: str, state: str, code: str, status: ClientStatus, version: str | None, news: State
) -> None:
    """Whatever the agent reports about the command, and whatever state the item is in."""
    at = item(before)
    found = judged(at, outcome(news, printed(report, at)))
    assert (found.item.state, found.item.code, found.item.stage) == (ItemState(state), code, "commit")
    assert found.item.current_version == ("1.0" if version is None else version)
    assert found.item.started_at is not None
    assert found.item.completed_at == MADE + timedelta(seconds=60)
    assert plain(found.change) == Change("c-1", status=status, version=version, unsure=version is None)


@pytest.mark.parametrize(
    "unknown",
    [
        pytest.param({"code": "DownloadFailed", "version_known": False}, id="it says so"),
        pytest.param(
            {"code": "HostBusy", "to_version": "2.0", "version_known": False}, id="it says so, with a version"
        ),
        pytest.param({"code": "DownloadFailed"}, id="an older command without our host program"),
        pytest.param({"code": "UnsupportedPlatform"}, id="an older command on a host without Python"),
    ],
)
@pytest.mark.parametrize("kind", [Kind.UPGRADE, Kind.UNINSTALL])
def test_an_order_that_could_not_even_start_leaves_the_version_as_it_was(kind: Kind, unknown: dict[str, Any]) -> None:
    """Not known is not the same as not installed: the version stays, is not confirmed, and the host is asked soon."""
    at = item(kind=kind)
    facts = {"current_version": "", "to_version": "", "from_version": "", "stage": "admit", "message": "no way"}
    report = report_of(at, "failed", **(facts | unknown))
    found = judged(at, outcome(State.FINISHED, report.as_line()))
    assert plain(found.change) == Change("c-1", status=STATUS_FAILED[kind], version=None, unsure=True)
    assert (found.item.code, found.item.current_version) == (unknown["code"], "1.0")
    assert found.item.message.startswith("no way; 1.0 was installed")
    assert found.item.message.endswith("not confirmed")


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(("version", "status"), [("1.0", ClientStatus.ACTIVATED), ("", ClientStatus.NOT_INSTALLED)])
def test_f09_f46_a_deferred_order_is_no_failure_of_the_client(kind: Kind, version: str, status: ClientStatus) -> None:
    """The host was booting or busy: the item ends with HostBusy, and the client is what it was before."""
    at = item(kind=kind)
    details = {"reason": "ReadOnlyRoot", "deferred": True}
    report = report_of(at, "failed", code="HostBusy", current_version=version, details=details)
    found = judged(at, outcome(State.FINISHED, report.as_line()))
    assert (found.item.state, found.item.code) == (ItemState.FAILED, "HostBusy")
    expected = None if kind in KEEPS_VERSION else status  # a precheck and a stage change no client's status
    assert plain(found.change) == Change("c-1", status=expected, version=version)


def test_only_a_failure_that_says_so_is_deferred() -> None:
    """Hosts of before do not say it, and a success is one whatever else it says."""
    old = report_of(item(), "failed", code="HostBusy", details={"deferred": 1})
    assert plain(judged(item(), outcome(State.FINISHED, old.as_line())).change) == Change(
        "c-1", status=BAD, version="1.0"
    )
    odd = report_of(item(kind=Kind.UNINSTALL), "succeeded", current_version="", details={"deferred": True})
    found = judged(item(kind=Kind.UNINSTALL), outcome(State.FINISHED, odd.as_line()))
    assert plain(found.change) == Change("c-1", status=ClientStatus.NOT_INSTALLED, version="")


def test_a_host_that_has_no_client_to_upgrade_says_so() -> None:
    """Then it is not installed, which is no failed upgrade."""
    report = report_of(item(), "failed", code="ClientNotInstalled", current_version="", message="not installed")
    found = judged(item(), outcome(State.FINISHED, report.as_line()))
    assert (found.item.state, found.item.code) == (ItemState.FAILED, "ClientNotInstalled")
    assert plain(found.change) == Change("c-1", status=ClientStatus.NOT_INSTALLED, version="")


def test_success_with_another_version_is_a_failure_that_names_it() -> None:
    """A host that reports success is not trusted blindly."""
    found = judged(item(), outcome(State.FINISHED, printed("succeeded-1.5", item())))
    assert found.item.message == "the host reports success, but 1.5 is installed there"
    gone = report_of(item(), current_version="").as_line()
    assert "but nothing is installed" in judged(item(), outcome(State.FINISHED, gone)).item.message


def test_a_roll_back_that_named_no_version_shows_the_one_that_its_host_went_to() -> None:
    """Once it is there; until then nobody knows."""
    left = replace(item(kind=Kind.ROLL_BACK), to_version="")
    report = report_of(left, to_version="0.9", current_version="0.9").as_line()
    done = judged(left, outcome(State.FINISHED, report)).item
    assert (done.state, done.goal_version, left.goal_version) == (ItemState.SUCCEEDED, "0.9", "")
    refused = report_of(left, "failed", code="NotAllowedFrom", current_version="1.0").as_line()
    assert judged(left, outcome(State.FINISHED, refused)).item.goal_version == ""


def test_an_uninstall_succeeds_when_nothing_is_left() -> None:
    """And only then."""
    at = item(kind=Kind.UNINSTALL)
    done = judged(at, outcome(State.FINISHED, report_of(at).as_line()))
    assert (done.item.state, plain(done.change)) == (
        ItemState.SUCCEEDED,
        Change("c-1", status=ClientStatus.NOT_INSTALLED, version=""),
    )
    still = judged(at, outcome(State.FINISHED, report_of(at, current_version="1.0").as_line()))
    assert (still.item.state, plain(still.change)) == (
        ItemState.FAILED,
        Change("c-1", status=ClientStatus.UNINSTALL_FAILED, version="1.0"),
    )


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"order_id": "u-2"}, id="another order's"),
        pytest.param({"order_id": "a-9"}, id="an earlier order's"),
        pytest.param({"package": "keeper"}, id="another package's"),
        pytest.param({"package": "a"}, id="another package's, first in the alphabet"),
        pytest.param({"outcome": "fine"}, id="another outcome"),
        pytest.param({"code": "AllIsWell"}, id="another code"),
        pytest.param({"stage": "moon"}, id="another step"),
        pytest.param({"current_version": "../../2.0"}, id="a version that climbs"),
        pytest.param({"current_version": "2.0\0"}, id="a version with NUL"),
        pytest.param({"message": ["no", "text"]}, id="a message that is no text"),
        *(
            pytest.param({"current_version": value}, id=f"{value!r} for a version")
            for value in (0, None, [], {}, False)
        ),
        *(pytest.param({"stage": value}, id=f"{value!r} for a step") for value in (0, None, [], {})),
    ],
)
def test_a_malformed_report_is_no_report(changed: dict[str, Any]) -> None:
    """As if the host had ended without one: nothing is known of the client's version."""
    line = json.dumps({"report": asdict(report_of(item())) | changed})
    found = judged(item(), outcome(State.FINISHED, f"{stage_line('prove')}\n{line}\n"))
    assert (found.item.state, found.item.code) == (ItemState.FAILED, "InternalError")
    assert (found.item.stage, found.item.current_version) == ("prove", "1.0")
    assert plain(found.change) == Change("c-1", status=BAD, unsure=True)


@pytest.mark.parametrize("code", ["DiskFull", "BackupRunning", ""])
def test_a_success_has_no_code_of_a_failure(code: str) -> None:
    """Only `AlreadyCurrent` is a note on a success."""
    found = judged(item(), outcome(State.FINISHED, report_of(item(), code=code).as_line()))
    assert (found.item.state, found.item.code) == (ItemState.SUCCEEDED, "")


@pytest.mark.parametrize(
    ("reported", "printed_stage", "expected"),
    [("switch", "fetch", "switch"), ("", "fetch", "fetch"), ("", "", "stage")],
)
def test_the_step_is_the_last_that_is_known(reported: str, printed_stage: str, expected: str) -> None:
    """Of the report, else of what was printed, else of the news before."""
    at = replace(item(), stage="stage")
    lines = [stage_line(printed_stage)] if printed_stage else []
    found = judged(at, outcome(State.FINISHED, "\n".join([*lines, report_of(at, stage=reported).as_line()])))
    assert found.item.stage == expected


def test_a_message_of_a_thousand_characters_is_stored_as_it_is() -> None:
    """And a longer one is cut to that."""
    assert storable("x" * 1000) == "x" * 1000
    assert storable("x" * 1001) == "x" * 1000


# --- No report ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error_code", "code"),
    [("-8", "DiskFull"), ("28", "DiskFull"), ("122", "DiskFull"), ("30", "HostBusy"), ("-13", "InternalError")],
)
def test_a_full_or_read_only_disk_of_an_agent_has_a_code(error_code: str, code: str) -> None:
    """The agent could not even begin: -8 is its own code for that, a positive one the system's."""
    found = judged(item(), outcome(State.FAILED, error_code=error_code, error_text="/opt/backfleet/agent"))
    assert (found.item.state, found.item.code) == (ItemState.FAILED, code)
    assert f"({error_code}: /opt/backfleet/agent)" in found.item.message
    assert plain(found.change) == Change("c-1", status=BAD, unsure=True)


def test_every_refusal_of_the_carrier_ssh_is_a_host_out_of_reach() -> None:
    codes = [value for name, value in vars(ssh_model).items() if name.isupper() and str(value).startswith("Ssh")]
    assert len(codes) == 7
    for code in set(codes) - {ssh_model.UNREACHABLE}:  # what may pass refuses nothing
        found = judged(item(), outcome(State.FAILED, error_code=code, error_text="both fingerprints"))
        assert (found.item.code, "both fingerprints" in found.item.message) == ("HostUnreachable", True)


@pytest.mark.parametrize("before", ["sent", "running", "lost"])
@pytest.mark.parametrize(
    ("news", "state", "code"),
    [
        pytest.param(State.RUNNING, "running", "", id="it runs"),
        pytest.param(State.LOST, "lost", "HostUnreachable", id="the agent went silent"),
        pytest.param(State.FINISHED, "failed", "InternalError", id="ended without a report"),
        pytest.param(State.TIMED_OUT, "failed", "TaskExpired", id="not in time"),
        pytest.param(State.STOPPED, "failed", "TaskCancelled", id="stopped on its host"),
        pytest.param(State.FAILED, "failed", "InternalError", id="could not be run"),
        pytest.param(State.REFUSED, "failed", "UnsupportedPlatform", id="the agent refused it"),
        pytest.param(State.CANCELLED, "failed", "TaskCancelled", id="never handed out"),
    ],
)
def test_without_a_report_the_state_of_the_command_decides(before: str, news: State, state: str, code: str) -> None:
    """The client's version stays as it was."""
    at = item(before)
    found = judged(at, outcome(news, stage_line("fetch")))
    already = at.state.value == state == "lost"
    assert (found.item.state, found.item.code) == (ItemState(state), "Before" if already else code)
    assert (found.item.stage, found.item.current_version) == ("fetch", "1.0")
    untouched = news is State.CANCELLED and before == "sent"
    if untouched:
        assert found.change == Change("c-1", status=OK), "nothing was tried"
    else:
        assert plain(found.change) == (Change("c-1", status=BAD, unsure=True) if state == "failed" else None)


def test_every_end_of_a_command_has_a_meaning() -> None:
    """A new final state of commands must not be forgotten here."""
    for news in COMMAND_OVER:
        assert not judged(item(), outcome(news)).item.is_open


def test_the_agents_reason_is_shown() -> None:
    """Its code and its text, after our own message."""
    found = judged(item(), outcome(State.REFUSED, b"", "TypeInvalid", "only orders\0"))
    assert found.item.message == "the agent on this host does not take upgrade orders (TypeInvalid: only orders?)"


def test_an_item_without_a_client_changes_no_client() -> None:
    """There is none whose version could be recorded."""
    found = judged(item(client_id=""), outcome(State.FINISHED, printed("succeeded", item())))
    assert (found.item.state, found.change) == (ItemState.SUCCEEDED, None)


# --- Late -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["cancelled", "expired", "failed", "succeeded"])
@pytest.mark.parametrize(
    ("report", "status", "version"),
    [
        pytest.param("succeeded", OK, "2.0", id="it was upgraded after all"),
        pytest.param("RolledBack", BAD, "1.0", id="it was rolled back"),
    ],
)
def test_a_late_report_updates_the_client_and_not_the_outcome(
    before: str, report: str, status: ClientStatus, version: str
) -> None:
    """The item stays as it ended, but for the version that the host has now. One that was ended here says so."""
    at = item(before)
    found = judged(at, outcome(State.FINISHED, printed(report, at)), seconds=5000)
    late = report if report == "RolledBack" else "the order succeeded"
    message = f"; its host reported later: {late}, {version} is installed" if before in ("cancelled", "expired") else ""
    assert found.item == replace(at, stage="commit", current_version=version, message=message)
    assert judged(found.item, outcome(State.FINISHED, printed(report, at)), seconds=6000).item == found.item
    assert plain(found.change) == Change("c-1", status=status, version=version)


@pytest.mark.parametrize("before", ["cancelled", "expired"])
def test_late_news_without_a_report_changes_nothing(before: str) -> None:
    """That its command was stopped says nothing about the client."""
    at = item(before)
    for news in State:
        found = judged(at, outcome(news), seconds=5000)
        assert (found.item, found.change) == (at, None)


@pytest.mark.parametrize(
    ("later", "change"),
    [
        pytest.param(LaterOrders(), Change("c-1", OK, "2.0"), id="nothing came later"),
        pytest.param(
            LaterOrders(is_open=True), Change("c-1", None, "2.0"), id="moving again: the version, not the status"
        ),
        pytest.param(LaterOrders(was_reported=True), None, id="the host has reported on a later order"),
        pytest.param(LaterOrders(is_open=True, was_reported=True), None, id="both"),
    ],
)
def test_a_report_does_not_overwrite_what_a_later_order_found(later: LaterOrders, change: Change | None) -> None:
    """Whatever has become of the client since then counts more."""
    at = item("expired")
    found = judged(at, outcome(State.FINISHED, printed("succeeded", at)), later=later)
    assert plain(found.change) == change


@pytest.mark.parametrize(
    ("seconds", "state", "code"),
    [
        pytest.param(LIFE - 0.001, "succeeded", "", id="just in time"),
        pytest.param(LIFE, "expired", "TaskExpired", id="at the deadline"),
        pytest.param(LIFE + 1, "expired", "TaskExpired", id="after it"),
    ],
)
@pytest.mark.parametrize("before", ["sent", "running", "lost"])
def test_the_deadline_is_exact(before: str, seconds: float, state: str, code: str) -> None:
    """The item expires at the deadline, whoever notes it first; the client is as its host reports all the same."""
    at = item(before)
    found = judged(at, outcome(State.FINISHED, printed("succeeded", at)), seconds=seconds)
    assert (found.item.state, found.item.code) == (ItemState(state), code)
    assert found.item.completed_at == min(DEADLINE, MADE + timedelta(seconds=seconds))
    assert plain(found.change) == Change("c-1", OK, "2.0")


# --- Malicious hosts ------------------------------------------------------------------------------------------------

DEEP = "[" * 50_000
REPORT = report_of(item()).as_line()


@pytest.mark.parametrize(
    ("output", "state"),
    [
        pytest.param(b"", "failed", id="nothing"),
        pytest.param(b"\0" * 1000, "failed", id="NUL"),
        pytest.param(bytes(range(256)), "failed", id="no text"),
        pytest.param("x" * 10_000_000, "failed", id="ten megabytes without a line"),
        pytest.param("x\n" * 100_000, "failed", id="a hundred thousand lines"),
        pytest.param(DEEP, "failed", id="JSON without end"),
        pytest.param('{"report":' * 20_000, "failed", id="reports in reports"),
        pytest.param("9" * 1_000_000, "failed", id="a number without end"),
        pytest.param('{"stage": ["commit"]}\n{"stage": {}}', "failed", id="steps that are none"),
        pytest.param(f"{DEEP}\n{REPORT}\n", "succeeded", id="a report among JSON without end"),
        pytest.param(b"\xff\xfe\0\n" + REPORT.encode() + b"\n\xff", "succeeded", id="a report among no text"),
        pytest.param(f"{printed('DiskFull', item())}\n{REPORT}", "succeeded", id="two reports: the last one"),
    ],
)
def test_a_host_may_print_anything(output: str | bytes, state: str) -> None:
    """Lines that are no report and no stage are ignored."""
    found = judged(item(), outcome(State.FINISHED, output))
    assert found.item.state is ItemState(state)
    assert found.item.stage == ("commit" if state == "succeeded" else "")


@pytest.mark.parametrize(
    ("message", "stored"),
    [
        pytest.param("a\0b", "a?b", id="NUL"),
        pytest.param("\ud800 and \udfff", "? and ?", id="halves of pairs"),
        pytest.param("\U0001f4be is full", "\U0001f4be is full", id="a complete pair"),
        pytest.param("x" * 5000, "x" * LONGEST_MESSAGE, id="too long"),
    ],
)
def test_a_hosts_message_is_stored_as_plain_text(message: str, stored: str) -> None:
    """What neither a database nor an answer can carry is replaced."""
    line = json.dumps({"report": asdict(report_of(item(), "failed", code="DiskFull")) | {"message": message}})
    assert judged(item(), outcome(State.FINISHED, line)).item.message == stored


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
reports = st.fixed_dictionaries(
    {
        "order_id": st.just("u-1") | anything,
        "kind": st.just("upgrade") | anything,
        "package": st.just("courier") | anything,
        "outcome": st.sampled_from(["succeeded", "failed"]) | anything,
    },
    optional={
        "code": st.sampled_from(CODES) | anything,
        "message": st.text(alphabet=st.characters(exclude_categories=()), max_size=30) | anything,
        "stage": st.sampled_from(STAGES) | anything,
        "from_version": anything,
        "current_version": st.sampled_from(["", "1.0", "2.0"]) | anything,
        "seconds": anything,
        "details": anything,
    },
)
lines = st.one_of(
    st.builds(lambda report: json.dumps({"report": report}).encode(), reports),
    st.builds(lambda stage: stage_line(stage).encode(), st.sampled_from(STAGES)),
    st.builds(lambda value: json.dumps(value).encode(), anything),
    st.binary(max_size=30),
)


@given(
    before=st.sampled_from(sorted(HOW_TO_COME_TO)),
    kind=st.sampled_from(list(Kind)),
    news=st.sampled_from(list(State)),
    output=st.lists(lines, max_size=4),
    seconds=st.sampled_from([1, LIFE, 5000]),
    later=st.builds(LaterOrders, st.booleans(), st.booleans()),
)
def test_no_host_can_stop_the_worker(
    before: str, kind: Kind, news: State, output: list[bytes], seconds: float, later: LaterOrders
) -> None:
    """Whatever it prints, the item makes a legal move, and every stored text is one that every database takes."""
    at = item(before, kind)
    found = judged(at, outcome(news, b"\n".join(output)), seconds=seconds, later=later)
    assert found.item.state is at.state or found.item.state in NEXT[at.state] | NEXT[ItemState.RUNNING]
    if at.state in FINAL:
        more = {"stage": found.item.stage, "current_version": found.item.current_version, "message": found.item.message}
        assert found.item == replace(at, **more)
        assert found.item.message.startswith(at.message)
    assert found.item.stage in ("", *STAGES)
    assert re.fullmatch(r"[A-Za-z0-9._+~-]{0,64}", found.item.current_version)
    assert len(found.item.message) <= LONGEST_MESSAGE
    assert "\0" not in found.item.message
    found.item.message.encode()
    if found.change is not None:
        assert found.change.status in (None, STATUS_SUCCEEDED[kind], STATUS_FAILED[kind], STATUS_UNDER_WAY[kind])
        assert found.change.version is None or isinstance(found.change.version, str)


@pytest.mark.parametrize("report", ["succeeded", "HostBusy"])
def test_a_host_program_that_gave_way_to_the_one_before_is_named(report: str) -> None:
    """As the command for another agent prints it before the report."""
    before = item()
    instead = json.dumps({"instead": {"wanted": "a" * 64, "used": "b" * 16, "why": "it\x1b[2J hangs"}})
    after = judged(before, outcome(State.FINISHED, f"{instead}\n{printed(report, before)}")).item
    note = f"the host program {'a' * 16} does not work there, and {'b' * 16} from before was used: it"
    assert note in after.message
    assert after.message.isprintable()
    again = judged(after, outcome(State.FINISHED, f"{instead}\n{printed(report, before)}")).item
    assert again.message == after.message
