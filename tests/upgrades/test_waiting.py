"""Orders that wait for their hosts: sent once, when the host is back or idle, and never after their time."""

from datetime import timedelta
from typing import Any

import pytest

from backfleet import commands, fleet, upgrades
from backfleet.carriers import through_gateway
from backfleet.fleet import ClientStatus
from backfleet.upgrades import ItemState, Kind, NewTask, Rules, Task, TaskState, TaskTarget
from operations.environment import PLATFORM, REGION
from upgrades.helpers import PACKAGE, Helpers, at_once, report_of

DAY = 86400.0
ALLOWED = Rules(still_may=lambda tx, caller, kind, clients, now: {})


def away(helpers: Helpers, version: str = "1.0", *, stopped: bool = False) -> TaskTarget:
    """A client on a host that is not there."""
    instance = helpers.env.host(silent=not stopped, stopped=stopped)
    return TaskTarget(instance, helpers.env.client(instance, version), PACKAGE, PLATFORM, version, "2.0")


def wait(helpers: Helpers, *targets: TaskTarget, days: float = 7, at: float = 0, kind: Kind = Kind.UPGRADE) -> Task:
    new = NewTask(kind, helpers.account, targets, helpers.env.root.arn, expires_in=timedelta(days=days), caller="who")
    services = helpers.env.services
    with helpers.transaction() as tx:
        return upgrades.start(tx, new, now=helpers.moment(at), draw=services.draw, settings=services.settings)


def run(helpers: Helpers, at: float, rules: Rules = ALLOWED) -> None:
    draw = helpers.env.services.draw
    while upgrades.run_once(
        helpers.database, now=helpers.moment(at), draw=draw, carrier=through_gateway(), rules=rules
    ):
        pass


def hear(helpers: Helpers, target: TaskTarget, at: float) -> None:
    with helpers.transaction() as tx:
        now = helpers.moment(at)
        fleet.note_heartbeats(tx, [fleet.Heartbeat(target.instance_id, now, reachable_at=now)])


def orders(helpers: Helpers, target: TaskTarget, at: float) -> list[Any]:
    return helpers.claim(target.instance_id, at).run


def carry_out(helpers: Helpers, task: Task, command: str, at: float, **report: Any) -> None:
    item = helpers.item(task, at=at)
    helpers.print_stages(item, command, "check", at=at)
    helpers.end(item, command, report_of(item, **report), at=at)
    run(helpers, at)


@pytest.fixture
def shop(helpers: Helpers) -> Helpers:
    """On each engine in turn, with the release that every order goes to."""
    helpers.env.release("2.0")
    return helpers


@pytest.mark.parametrize("stopped", [False, True], ids=["silent", "stopped"])
def test_a_host_that_comes_back_is_given_one_order(shop: Helpers, stopped: bool) -> None:
    """Days later, with the time of an order; until then the task says what it waits for."""
    target = away(shop, stopped=stopped)
    task = wait(shop, target)
    run(shop, 2 * DAY)
    item = shop.item(task, at=2 * DAY)
    assert (item.state, item.client_status) == (ItemState.WAITING, ClientStatus.ACTIVATED)
    assert item.message.startswith("waiting: stopped since " if stopped else "waiting: offline since ")
    assert f"until {shop.moment(7 * DAY):%Y-%m-%dT%H:%M:%SZ} at the latest" in item.message
    assert shop.client(target.client_id).status is ClientStatus.ACTIVATED
    assert orders(shop, target, 2 * DAY) == []
    hear(shop, target, 3 * DAY)
    run(shop, 3 * DAY)
    run(shop, 3 * DAY + 1)  # another replica, or the same one after a restart
    (order,) = orders(shop, target, 3 * DAY + 2)
    assert 600 < order.timeout_seconds <= 900
    assert shop.client(target.client_id).status is ClientStatus.UPGRADING
    carry_out(shop, task, order.task_id, 3 * DAY + 60)
    done = shop.task(task, 3 * DAY + 60)
    assert (done.state, done.progress, shop.client(target.client_id).version) == (TaskState.COMPLETED, 100, "2.0")
    assert orders(shop, target, 4 * DAY) == []


def test_a_busy_host_is_asked_again_until_it_is_idle(shop: Helpers) -> None:
    """Each order has an id of its own, the pauses grow, and nothing counts as a failure."""
    target = shop.target()
    task = wait(shop, target)
    at, seen, pauses = 0.0, set(), []
    for code, details in (("BackupRunning", {}), ("HostBusy", {"deferred": True, "reason": "RebootPending"})):
        run(shop, at)
        (order,) = orders(shop, target, at)
        seen.add(shop.item(task, at=at).id)
        carry_out(shop, task, order.task_id, at + 1, outcome="failed", code=code, message="a backup", details=details)
        item, client = shop.item(task, at=at + 1), shop.client(target.client_id)
        assert (item.state, client.status, client.failure) == (ItemState.WAITING, ClientStatus.ACTIVATED, None)
        assert f"waiting: busy since {shop.moment(at + 1):%Y-%m-%dT%H:%M:%SZ} ({code}: a backup)" in item.message
        assert item.not_before is not None
        hear(shop, target, at + 2)
        run(shop, at + 2)
        assert orders(shop, target, at + 2) == []
        pauses.append((item.not_before - shop.moment(at + 1)).total_seconds())
        at += 1 + pauses[-1]
        hear(shop, target, at)
    assert pauses == [300, 600]
    run(shop, at)
    (order,) = orders(shop, target, at)
    seen.add(shop.item(task, at=at).id)
    carry_out(shop, task, order.task_id, at + 1)
    assert (len(seen), shop.task(task, at + 1).progress) == (3, 100)


def test_an_order_that_its_host_never_fetched_is_given_again(shop: Helpers) -> None:
    """The host went away before it asked: the first order is withdrawn, the second leaves when it is back."""
    target = shop.target()
    task = wait(shop, target)
    run(shop, 0)
    run(shop, 901)
    item = shop.item(task, at=901)
    assert (item.state, "offline since" in item.message) == (ItemState.WAITING, True)
    hear(shop, target, DAY)
    run(shop, DAY)
    (order,) = orders(shop, target, DAY)
    carry_out(shop, task, order.task_id, DAY + 1)
    assert shop.task(task, DAY + 1).progress == 100


def test_what_waited_too_long_ends_with_a_code_of_its_own(shop: Helpers) -> None:
    """Nothing was touched; a host that began is given its time as ever."""
    never, begun = away(shop), shop.target()
    task = wait(shop, never, begun, days=1)
    hear(shop, begun, DAY - 10)
    run(shop, 0)
    (order,) = orders(shop, begun, 0)
    shop.print_stages(shop.item(task, 1), order.task_id, "check", at=1)
    run(shop, DAY)
    first, second = shop.task(task, DAY).items
    assert (first.state, first.code) == (ItemState.EXPIRED, "WaitExpired")
    assert "nothing was changed there" in first.message
    assert (second.state, second.code) == (ItemState.EXPIRED, "TaskExpired")
    assert shop.task(task, DAY).state is TaskState.EXPIRED
    client = shop.client(never.client_id)
    assert (client.status, client.failure, client.in_doubt) == (ClientStatus.ACTIVATED, None, False)
    hear(shop, never, DAY + 1)
    run(shop, DAY + 1)
    assert orders(shop, never, DAY + 1) == []


def test_a_waiting_order_can_be_cancelled(shop: Helpers) -> None:
    target = away(shop)
    task = wait(shop, target)
    shop.cancel(task, 10)
    item = shop.item(task, at=11)
    assert (item.state, item.code, item.client_status) == (ItemState.CANCELLED, "TaskCancelled", ClientStatus.ACTIVATED)
    client = shop.client(target.client_id)
    assert (client.status, client.failure, client.in_doubt) == (ClientStatus.ACTIVATED, None, False)
    hear(shop, target, 20)
    run(shop, 20)
    assert orders(shop, target, 20) == []


def test_a_later_task_takes_the_place_of_a_waiting_order(shop: Helpers) -> None:
    """The first one names it; a precheck, which changes nothing, does not."""
    target = away(shop)
    first = wait(shop, target)
    asked = wait(shop, target, kind=Kind.PRECHECK, at=1)
    assert shop.item(asked, at=2).code == "UpgradeInProgress"
    later = wait(shop, target, at=3)
    item = shop.item(first, at=4)
    assert (item.state, item.code, later.id in item.message) == (ItemState.CANCELLED, "Superseded", True)
    assert shop.task(first, 4).state is TaskState.CANCELLED
    hear(shop, target, 10)
    run(shop, 10)
    assert len(orders(shop, target, 10)) == 1
    assert shop.item(later, at=10).state is ItemState.SENT


def pinned(shop: Helpers, target: TaskTarget) -> None:
    at = (shop.account, REGION, fleet.PinKind.INSTANCE, target.instance_id, "", PACKAGE)
    with shop.transaction() as tx:
        fleet.put_pin(tx, fleet.Pin(*at, "", "year's end", "me", shop.moment(0), shop.moment(30 * DAY)))


def withdrawn(shop: Helpers, target: TaskTarget) -> None:
    from backfleet import releases

    with shop.transaction() as tx:
        releases.withdraw(tx, shop.env.services.repository, PACKAGE, "2.0", PLATFORM, now=shop.moment(DAY))


def deregistered(shop: Helpers, target: TaskTarget) -> None:
    with shop.transaction() as tx:
        fleet.deregister(tx, target.instance_id, now=shop.moment(DAY))
        commands.end_gone(tx, target.instance_id, now=shop.moment(DAY))


FORBIDDEN = Rules(still_may=lambda tx, caller, kind, clients, now: dict.fromkeys(clients, f"{caller} may not"))
SINCE: list[Any] = [
    pytest.param(pinned, ALLOWED, "Pinned", "year's end", id="it was pinned"),
    pytest.param(withdrawn, ALLOWED, "NoRelease", "was withdrawn while this waited", id="its version was withdrawn"),
    pytest.param(lambda shop, target: None, FORBIDDEN, "NoPermission", "who may not", id="its caller may no longer"),
    pytest.param(deregistered, ALLOWED, "InstanceNotExists", "nothing was changed", id="its instance is no more"),
]


@pytest.mark.parametrize(("since", "rules", "code", "text"), SINCE)
def test_what_changed_while_an_order_waited_counts(
    shop: Helpers, since: Any, rules: Rules, code: str, text: str
) -> None:
    """It is judged when the order leaves; the client is as it was."""
    target = away(shop)
    task = wait(shop, target)
    since(shop, target)
    hear(shop, target, 2 * DAY)
    run(shop, 2 * DAY, rules)
    run(shop, 2 * DAY + 1, rules)
    item = shop.item(task, at=2 * DAY)
    assert (item.state, item.code, text in item.message) == (ItemState.FAILED, code, True), item
    assert orders(shop, target, 2 * DAY) == []
    if code != "InstanceNotExists":
        client = shop.client(target.client_id)
        assert (client.status, client.failure) == (ClientStatus.ACTIVATED, None)


def test_two_workers_give_a_host_one_order(replicas: Helpers) -> None:
    """Where two transactions can be open at once."""
    replicas.env.release("2.0")
    targets = [away(replicas) for _ in range(6)]
    wait(replicas, *targets)
    for target in targets:
        hear(replicas, target, DAY)
    for done in at_once([lambda: run(replicas, DAY)] * 3):
        done.result()
    assert [len(orders(replicas, target, DAY)) for target in targets] == [1] * 6
