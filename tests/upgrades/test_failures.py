"""What a failed order leaves: the status that is true of the host, what failed last, and what it printed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backfleet.carriers import Outcome, State
from backfleet.fleet import Client, ClientStatus, Failure
from backfleet.upgrades.checkups import change_after, order_id_of
from backfleet.upgrades.model import Item, new_item
from backfleet.upgrades.outcomes import LONGEST_EVIDENCE, Judgement, LaterOrders, judge
from backfleet.upgrades.states import ItemState, Kind
from backfleet_host.contract import Report
from upgrades.helpers import LIFE, PACKAGE, Helpers, nobody, report_of

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TRACEBACK = "Local Exception\nTraceback (most recent call last):\n  ...\nOSError: no repository\nPlatform: Linux"


def item(kind: Kind, *, installed: str = "1.0") -> Item:
    made = new_item(
        nobody(1, to_version="2.0", from_version=installed),
        item_id="u-1", task_id="t-1", position=0, account_id="1", kind=kind, now=AT,
    )  # fmt: skip
    return made.moved(ItemState.SENT, at=AT).moved(ItemState.RUNNING, at=AT)


def judged(of: Item, output: str, state: State = State.FINISHED) -> Judgement:
    news = Outcome("t-9", "u-1", state, None, "", "", output.encode(), AT, 1)
    return judge(of, news, deadline=AT + timedelta(seconds=LIFE), later=LaterOrders(), now=AT)


def rolled_back(of: Item, output: Any = TRACEBACK, **more: Any) -> str:
    evidence = {"evidence": {"version": "2.0", "output": output}}
    facts = {"code": "RolledBack", "current_version": "1.0", "message": "unhealthy", "details": evidence} | more
    return report_of(of, "failed", **facts).as_line()


@pytest.mark.parametrize(
    ("kind", "facts", "status"),
    [
        pytest.param(Kind.INSTALL, {}, "ACTIVATED", id="an install asked again"),
        pytest.param(Kind.INSTALL, {"code": "DownloadFailed"}, "ACTIVATED", id="an install that came to nothing"),
        pytest.param(Kind.INSTALL, {"current_version": ""}, "INSTALL_FAILED", id="nothing is installed"),
        pytest.param(Kind.INSTALL, {"code": "RollbackFailed"}, "INSTALL_FAILED", id="what runs is broken"),
        pytest.param(Kind.UPGRADE, {}, "UPGRADE_FAILED", id="an upgrade"),
        pytest.param(
            Kind.UPGRADE, {"code": "HostBusy", "details": {"deferred": True}}, "ACTIVATED", id="a deferred upgrade"
        ),
        pytest.param(
            Kind.INSTALL, {"code": "HostBusy", "details": {"deferred": True}, "current_version": ""},
            "NOT_INSTALLED", id="a deferred install",
        ),
    ],
)  # fmt: skip
def test_item_and_client_show_the_same_status_which_is_true_of_the_host(
    kind: Kind, facts: dict[str, Any], status: str
) -> None:
    of = item(kind, installed=facts.get("current_version", "1.0"))
    found = judged(of, rolled_back(of, **facts))
    assert found.item.client_status == status
    assert found.change is not None
    assert found.change.status == status


def test_an_install_that_ends_without_a_report_leaves_what_is_installed_activated() -> None:
    """Its host last said that it has 1.0, and is asked soon."""
    found = judged(item(Kind.INSTALL), "", State.FAILED)
    assert found.item.client_status is ClientStatus.ACTIVATED
    assert found.change is not None
    assert (found.change.status, found.change.unsure) == (ClientStatus.ACTIVATED, True)


def test_what_a_version_printed_is_in_the_item_and_in_the_clients_failure() -> None:
    of = item(Kind.UPGRADE)
    found = judged(of, rolled_back(of))
    assert found.item.evidence == TRACEBACK
    assert found.change is not None
    assert found.change.failure == Failure("RolledBack", "unhealthy", "2.0", AT, TRACEBACK)


def test_what_a_version_printed_is_bounded_and_escaped() -> None:
    of = item(Kind.UPGRADE)
    printed = "first \x1b[2J\n" + "middle\n" * 5000 + "last"
    evidence = judged(of, rolled_back(of, printed)).item.evidence
    assert evidence.startswith("first \\x1b[2J\n")
    assert evidence.endswith("middle\nlast")
    assert len(evidence) <= LONGEST_EVIDENCE
    assert len(judged(of, rolled_back(of, "\x1b" * 3900)).item.evidence) <= LONGEST_EVIDENCE


@pytest.mark.parametrize("evidence", [None, 7, {}, ["x"]])
def test_odd_evidence_is_none(evidence: Any) -> None:
    of = item(Kind.UPGRADE)
    assert judged(of, rolled_back(of, evidence)).item.evidence == ""
    assert judged(of, rolled_back(of, details={"evidence": evidence})).item.evidence == ""


def test_the_last_failure_is_stored_until_an_order_succeeds(helpers: Helpers) -> None:
    _, of, command = helpers.under_way()
    helpers.end(of, command, Report(**{**report_of(of, "failed").__dict__, "code": "RolledBack",
                "current_version": "1.0", "details": {"evidence": {"output": TRACEBACK}}}), at=5)  # fmt: skip
    helpers.run_worker(5)
    failure = helpers.client(of.client_id).failure
    assert failure is not None
    assert (failure.code, failure.version, failure.output) == ("RolledBack", of.to_version, TRACEBACK)
    again = helpers.start(replace_target(helpers, of), at=10)
    helpers.run_worker(10)
    command = helpers.begin(again.items[0], at=10)
    helpers.end(again.items[0], command, report_of(again.items[0]), at=11)
    helpers.run_worker(11)
    assert helpers.client(of.client_id).failure is None


def replace_target(helpers: Helpers, of: Item) -> Any:
    target = nobody(1, to_version="2.0")
    return replace(target, instance_id=of.instance_id, client_id=of.client_id, platform=of.platform)


def listed(client: Client, failures: Any) -> str:
    details = {"packages": [{"package": PACKAGE, "failures": failures}]}
    order_id = order_id_of(client.id, client.checked_at)
    return Report(
        order_id, "status", PACKAGE, "succeeded", current_version=client.version, details=details
    ).as_line()  # fmt: skip


@pytest.fixture
def client() -> Client:
    return Client("c-1", "1", "r", "mi-1", PACKAGE, "1.0", "stable", ClientStatus.ACTIVATED, AT, AT, AT)


def record(*, at: int = -60, until: int = 3600) -> dict[str, Any]:
    return {"reason": "unhealthy", "at": AT.timestamp() + at, "until": AT.timestamp() + until}


def failure_of(client: Client, failures: Any) -> Failure | None:
    found = change_after(client, client.checked_at, listed(client, failures), ask_again_at=AT)
    assert found is not None
    return found.failure


def test_a_checkup_brings_what_was_rolled_back_on_the_host(client: Client) -> None:
    """Of several quarantined versions the newest; a lost report is made up for."""
    found = failure_of(client, {"2.0": record(at=-60), "1.9": record(at=-90), "2.1": record(until=-1)})
    assert found is not None
    assert (found.code, found.message, found.version) == ("RolledBack", "unhealthy", "2.0")
    assert found.quarantined_until == AT + timedelta(hours=1)


def test_a_checkup_adds_the_quarantine_and_keeps_what_was_printed(client: Client) -> None:
    known = Failure("RolledBack", "why", "2.0", AT, TRACEBACK)
    quarantined = replace(known, quarantined_until=AT + timedelta(hours=1))
    assert failure_of(replace(client, failure=known), {"2.0": record()}) == quarantined
    assert failure_of(replace(client, failure=quarantined), {"2.0": record()}) is None
    later = replace(known, version="3.0")
    assert failure_of(replace(client, failure=later), {"2.0": record()}) is None


@pytest.mark.parametrize(
    "failures",
    [None, [], {}, {"2.0": None}, {"2.0": {}}, {"2.0": {"reason": "x", "at": "soon", "until": 1e300}},
     {"../x": record()}, {"1.0": record()}],
)  # fmt: skip
def test_odd_and_present_versions_are_no_failures(client: Client, failures: Any) -> None:
    assert failure_of(client, failures) is None


def test_a_failed_install_is_activated_once_its_host_says_what_it_has(client: Client) -> None:
    found = change_after(
        replace(client, status=ClientStatus.INSTALL_FAILED), AT, listed(client, {}), ask_again_at=AT
    )  # fmt: skip
    assert found is not None
    assert found.status is ClientStatus.ACTIVATED
