"""Checkups: hosts are asked for their clients' status on a schedule, and soon where an outcome was never reported."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backfleet import commands, fleet, upgrades
from backfleet.carriers import Bootstrap, through_gateway
from backfleet.commands import FinalReport, State
from backfleet.commands._tables import invocations
from backfleet.fleet import Change, Client, ClientStatus, Heartbeat
from backfleet.upgrades import CHECKUPS
from backfleet.upgrades.checkups import AT_ONCE, SECONDS, change_after, order_id_of
from backfleet_host.contract import Order, Report, is_order, read_order
from upgrades.helpers import LIFE, PACKAGE, Helpers, report_of

DAY = timedelta(days=1)
CONFIRMED = Change("c-1", confirmed=True)
SOON = datetime(2026, 1, 1, tzinfo=UTC)
REACHABLE_WITHIN = timedelta(seconds=180)
BOOTSTRAP = Bootstrap("server:8443", "PEM", "0" * 64)


def check(helpers: Helpers, at: float, bootstrap: Bootstrap | None = None) -> bool:
    return upgrades.run_checkups_once(
        helpers.database,
        now=helpers.moment(at),
        draw=helpers.env.services.draw,
        every=DAY,
        reachable_within=REACHABLE_WITHIN,
        carrier=through_gateway(bootstrap),
    )


def hear_from(helpers: Helpers, instance_id: str, at: float) -> None:
    with helpers.transaction() as tx:
        fleet.note_heartbeats(tx, [Heartbeat(instance_id, helpers.moment(at), reachable_at=helpers.moment(at))])


def orders(helpers: Helpers, instance_id: str, at: float) -> list[tuple[str, Order]]:
    """The orders that its host fetches, with their task ids."""
    return [(each.task_id, read_order(each.content)) for each in helpers.claim(instance_id, at).run]


def answer(
    helpers: Helpers,
    instance_id: str,
    command: str,
    order: Order,
    version: str,
    *,
    at: float,
    drift: Any = (),
    attempt_open: bool = False,
) -> None:
    status = {"package": PACKAGE, "current": version, "drift": list(drift), "attempt_open": attempt_open}
    packages = {"packages": [status]}
    report = Report(order.order_id, "status", PACKAGE, "succeeded", current_version=version, details=packages)
    with helpers.transaction() as tx:
        ending = FinalReport("finish", exit_code=0, output=report.as_line().encode())
        assert commands.record_final_report(tx, instance_id, command, ending, now=helpers.moment(at))


def test_every_client_is_checked_once_a_day(helpers: Helpers) -> None:
    """What somebody else did to it is known then."""
    instance, client = helpers.env.host_with_client("1.0")
    later = DAY.total_seconds() + 1
    hear_from(helpers, instance, later)
    check(helpers, later - 10)
    assert orders(helpers, instance, later - 10) == []
    check(helpers, later)
    ((command, order),) = orders(helpers, instance, later)
    assert (order.kind, order.package) == ("status", PACKAGE)
    assert order.timeout_seconds < SECONDS  # recovery from a crash comes first, and must end in time for the answer
    answer(helpers, instance, command, order, "1.1", at=later, drift=["another package manager", "x\ny"])
    assert not check(helpers, later)
    known = helpers.client(client)
    assert (known.version, known.status, known.drift) == ("1.1", ClientStatus.ACTIVATED, "another package manager\nx y")
    check(helpers, later + 100)
    assert orders(helpers, instance, later + 100) == []


@pytest.mark.parametrize("silent", [pytest.param(True, id="silent"), pytest.param(False, id="moving")])
def test_hosts_that_cannot_answer_now_are_not_asked(helpers: Helpers, silent: bool) -> None:
    """A silent one is asked once it is heard again, one with an open order once that is over."""
    target = helpers.target()
    later = DAY.total_seconds() + 1
    if not silent:
        helpers.start(target, at=later)
        hear_from(helpers, target.instance_id, later)
    check(helpers, later)
    assert [order for _, order in orders(helpers, target.instance_id, later) if order.kind == "status"] == []


def test_f63_f64_the_version_is_known_soon_after_a_lost_report(helpers: Helpers) -> None:
    """F63, F64: the task stays expired, the client is shown as it is, long before the next day."""
    task, item, _ = helpers.under_way()
    late = LIFE + 1
    helpers.run_worker(late)
    assert helpers.client(item.client_id).status is ClientStatus.UPGRADE_FAILED
    hear_from(helpers, item.instance_id, late)
    check(helpers, late)
    asked = [each for each in orders(helpers, item.instance_id, late) if each[1].kind == "status"]
    ((command, order),) = asked
    answer(helpers, item.instance_id, command, order, "2.0", at=late)
    check(helpers, late)
    known = helpers.client(item.client_id)
    assert (known.version, known.status) == ("2.0", ClientStatus.ACTIVATED)
    assert helpers.task(task, late).state == "expired"


def test_an_answer_that_an_order_overtook_changes_nothing(helpers: Helpers) -> None:
    """It was true only when it was given."""
    target = helpers.target()
    later = DAY.total_seconds() + 1
    hear_from(helpers, target.instance_id, later)
    check(helpers, later)
    ((command, order),) = orders(helpers, target.instance_id, later)
    task = helpers.start(target, at=later)
    helpers.run_worker(later)
    upgrade = helpers.begin(task.items[0], at=later)
    helpers.run_worker(later)
    helpers.end(helpers.item(task, at=later), upgrade, report_of(task.items[0]), at=later + 1)
    helpers.run_worker(later + 1)
    answer(helpers, target.instance_id, command, order, "1.0", at=later + 2)
    check(helpers, later + 2)
    assert helpers.client(target.client_id).version == "2.0"


def test_a_question_that_was_never_fetched_is_withdrawn(helpers: Helpers) -> None:
    """One question waits, not one for every day."""
    instance, _ = helpers.env.host_with_client("1.0")
    for days in (1, 2, 3):
        at = days * (DAY.total_seconds() + 1)
        hear_from(helpers, instance, at)
        check(helpers, at)
    with helpers.database.reading() as tx:
        rows = tx.rows(invocations.select().where(invocations.c.topic == CHECKUPS))
    newest = max(rows, key=lambda row: row.created_at)
    assert newest.state == State.WAITING
    assert {row.state for row in rows if row is not newest} == {State.CANCELLED}


def test_a_host_with_another_agent_is_asked_through_its_shell(helpers: Helpers) -> None:
    """The shell command carries the same question."""
    instance = helpers.env.host(agent="2.2.3.578")
    helpers.env.client(instance)
    later = DAY.total_seconds() + 1
    with helpers.transaction() as tx:
        fleet.note_heartbeats(
            tx, [Heartbeat(instance, helpers.moment(later), "2.2.3.578", reachable_at=helpers.moment(later))]
        )
    check(helpers, later, BOOTSTRAP)
    (command,) = helpers.claim(instance, later).run
    assert command.content.startswith("#!/bin/sh")
    assert not is_order(command.content)


def test_one_round_asks_a_bounded_number(helpers: Helpers) -> None:
    """After days away many are due, and there is no hurry."""
    later = DAY.total_seconds() + 1
    hosts = [helpers.env.host_with_client("1.0")[0] for _ in range(AT_ONCE + 1)]
    with helpers.transaction() as tx:
        fleet.note_heartbeats(
            tx, [Heartbeat(host, helpers.moment(later), reachable_at=helpers.moment(later)) for host in hosts]
        )
    assert not check(helpers, later)
    with helpers.database.reading() as tx:
        assert len(tx.rows(invocations.select().where(invocations.c.topic == CHECKUPS))) == AT_ONCE
    check(helpers, later)
    with helpers.database.reading() as tx:
        assert len(tx.rows(invocations.select().where(invocations.c.topic == CHECKUPS))) == AT_ONCE + 1


@pytest.fixture
def client(now: datetime) -> Client:
    return Client("c-1", "1", "r", "mi-1", PACKAGE, "1.0", "stable", ClientStatus.ACTIVATED, now, now, checked_at=now)


@pytest.mark.parametrize(
    ("status", "version", "change"),
    [
        pytest.param("ACTIVATED", "1.0", CONFIRMED, id="as it was"),
        pytest.param("ACTIVATED", "2.0", (None, "2.0"), id="moved by somebody else"),
        pytest.param("ACTIVATED", "", ("NOT_INSTALLED", ""), id="removed by somebody else"),
        pytest.param("UPGRADE_FAILED", "1.0", CONFIRMED, id="it did fail"),
        pytest.param("UPGRADE_FAILED", "2.0", ("ACTIVATED", "2.0"), id="it had not failed"),
        pytest.param("UNINSTALL_FAILED", "", ("NOT_INSTALLED", ""), id="it was removed after all"),
        pytest.param("NOT_INSTALLED", "1.0", ("ACTIVATED", "1.0"), id="it is installed after all"),
        pytest.param("UPGRADING", "2.0", None, id="under way"),
    ],
)
def test_an_answer_corrects_the_version_and_a_wrong_status(
    client: Client, status: str, version: str, change: Change | tuple[str | None, str] | None
) -> None:
    """A status that fits the version stays."""
    known = replace(client, status=ClientStatus(status))
    report = Report(order_id_of("c-1", client.checked_at), "status", PACKAGE, "succeeded", current_version=version)
    found = change_after(known, client.checked_at, report.as_line(), ask_again_at=SOON)
    if isinstance(change, tuple):
        change = Change("c-1", change[0] and ClientStatus(change[0]), change[1], "")
    assert found == change


@pytest.mark.parametrize(
    "output",
    [
        pytest.param("", id="nothing"),
        pytest.param("{}", id="no report"),
        pytest.param(Report("c-1-0", "status", PACKAGE, "succeeded").as_line(), id="to another question"),
        pytest.param(Report("ID", "status", "other", "succeeded").as_line(), id="of another package"),
        pytest.param(Report("ID", "status", PACKAGE, "failed", code="InternalError").as_line(), id="it failed"),
        pytest.param(Report("ID", "upgrade", PACKAGE, "succeeded").as_line(), id="no status"),
    ],
)
def test_answers_that_change_nothing(client: Client, output: str) -> None:
    """Nothing is concluded from them."""
    printed = output.replace('"ID"', f'"{order_id_of("c-1", client.checked_at)}"')
    assert change_after(client, client.checked_at, printed, ask_again_at=SOON) is None


def test_a_version_in_the_middle_of_an_upgrade_does_not_count(client: Client) -> None:
    """It may still be rolled back, so the host is asked again soon: its task may have ended here."""
    details = {"packages": [{"package": PACKAGE, "attempt_open": True}]}
    order_id = order_id_of("c-1", client.checked_at)
    report = Report(order_id, "status", PACKAGE, "succeeded", current_version="2.0", details=details)
    assert change_after(client, client.checked_at, report.as_line(), ask_again_at=SOON) == Change(
        "c-1", unsure=True, checked_at=SOON
    )


def test_a_host_that_answers_from_the_middle_of_an_upgrade_is_asked_again_a_minute_later(helpers: Helpers) -> None:
    """Its task is over here, and nobody else would ask what came of it before the next day."""
    instance, client = helpers.env.host_with_client("1.0")
    later = DAY.total_seconds() + 1
    hear_from(helpers, instance, later)
    check(helpers, later)
    ((command, order),) = orders(helpers, instance, later)
    answer(helpers, instance, command, order, "2.0", at=later, attempt_open=True)
    check(helpers, later)
    known = helpers.client(client)
    assert (known.version, known.in_doubt) == ("1.0", True)
    assert orders(helpers, instance, later) == []
    hear_from(helpers, instance, later + 61)
    check(helpers, later + 61)
    ((command, order),) = orders(helpers, instance, later + 61)
    answer(helpers, instance, command, order, "2.0", at=later + 62)
    check(helpers, later + 62)
    known = helpers.client(client)
    assert (known.version, known.in_doubt, known.confirmed_at) == ("2.0", False, helpers.moment(later + 62))


def test_an_answer_without_news_confirms_the_version(helpers: Helpers) -> None:
    """Nothing else of the client changes, not even when it was updated."""
    instance, client = helpers.env.host_with_client("1.0")
    before, later = helpers.client(client), DAY.total_seconds() + 1
    hear_from(helpers, instance, later)
    check(helpers, later)
    ((command, order),) = orders(helpers, instance, later)
    answer(helpers, instance, command, order, "1.0", at=later)
    check(helpers, later)
    known = helpers.client(client)
    assert known == replace(before, confirmed_at=helpers.moment(later), checked_at=helpers.moment(later))


@pytest.mark.parametrize("details", [{"cut": True}, {"cut": True, "packages": [{"package": "other"}]}])
def test_a_status_that_was_cut_changes_nothing(client: Client, details: dict[str, Any]) -> None:
    """It may have lost the drift, and that an upgrade is under way."""
    order_id = order_id_of("c-1", client.checked_at)
    report = Report(order_id, "status", PACKAGE, "succeeded", current_version="2.0", details=details)
    assert change_after(client, client.checked_at, report.as_line(), ask_again_at=SOON) is None
    own = replace(report, details={**details, "packages": [{"package": PACKAGE, "drift": ["x"]}]})
    assert change_after(client, client.checked_at, own.as_line(), ask_again_at=SOON) == Change("c-1", None, "2.0", "x")


@pytest.mark.parametrize(
    "details",
    [{}, {"packages": 1}, {"packages": [1]}, {"packages": [{"package": PACKAGE, "drift": {}}]}, {"packages": [{}]}],
)
def test_a_status_of_another_form_has_no_drift(client: Client, details: dict[str, Any]) -> None:
    """A host may be newer or older; its version counts all the same."""
    order_id = order_id_of("c-1", client.checked_at)
    report = Report(order_id, "status", PACKAGE, "succeeded", current_version="2.0", details=details)
    assert change_after(client, client.checked_at, report.as_line(), ask_again_at=SOON) == Change(
        "c-1", None, "2.0", ""
    )


def test_a_stopped_order_that_goes_on_is_asked_about_again(helpers: Helpers) -> None:
    """The official agent reports that it stopped, and what it had begun reports on. The host says what it has now."""
    target = helpers.target()
    task = helpers.start(target)
    helpers.run_worker()
    (command,) = helpers.claim(target.instance_id, 0).run
    helpers.cancel(task, at=5)
    with helpers.transaction() as tx:
        commands.record_final_report(
            tx, target.instance_id, command.task_id, FinalReport("stopped"), now=helpers.moment(6)
        )
        fleet.set_clients(tx, [Change(target.client_id, version="1.0")], now=helpers.moment(7))
    assert not helpers.client(target.client_id).in_doubt
    for at in (35, 36):
        with helpers.transaction() as tx:
            assert not commands.record_output(
                tx, target.instance_id, command.task_id, b"more", started_ms=1, now=helpers.moment(at), lease=DAY
            )
    assert helpers.client(target.client_id).in_doubt
    check(helpers, 40)
    questions = [order.kind for _, order in orders(helpers, target.instance_id, 40)]
    assert questions == ["status"]
