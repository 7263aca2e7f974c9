"""The 15 minutes of a task while the clock is set, or no server runs: who is well is not lost for it."""

from collections.abc import Callable

from backfleet.operations.catalogue import HBR
from backfleet.workers import workers
from rollouts.fleet import Fleet

HOURS = 5 * 3600.0


def server_of(hosts: Fleet) -> Callable[[float], None]:
    """Return a function that lets the worker of tasks, as a server starts it, run so many seconds later."""
    [worker] = [each for each in workers(hosts.env.services, lambda: hosts.now) if each.topic == "upgrades"]

    def look(seconds: float) -> None:
        hosts.at += seconds
        while worker.run_once():
            pass
        hosts.decide()

    return look


def states(hosts: Fleet, rollout: str) -> set[str]:
    return {found["State"] for found in hosts.members(rollout).values() if found["Ring"] == "canary"}


def begin(hosts: Fleet, look: Callable[[float], None]) -> str:
    """Start a rollout, and have its first orders sent: no host fetches one."""
    hosts.silent = {hosts.instance_of(client) for client in hosts.grow(4)}
    rollout = hosts.roll_out()
    look(0)
    look(1)
    assert states(hosts, rollout) == {"upgrading"}
    return rollout


def test_a_clock_set_forward_loses_no_member_that_is_under_way(hosts: Fleet) -> None:
    """Nor does a server that was down for so long: the hosts get the time to report, and the rollout goes on."""
    look = server_of(hosts)
    rollout = begin(hosts, look)
    look(HOURS)
    assert (hosts.show(rollout)["State"], states(hosts, rollout)) == ("running", {"upgrading"})
    look(50)
    hosts.silent = set()
    assert hosts.run(rollout)["State"] == "completed"


def test_a_call_right_after_the_clock_was_set_sees_no_task_expired(hosts: Fleet) -> None:
    """No worker has looked since. It is shown, listed, in the way of another call, and cancelled as one that runs."""
    look = server_of(hosts)
    rollout = begin(hosts, look)
    (task,) = {found["TaskId"] for found in hosts.members(rollout).values() if found["Ring"] == "canary"}
    client = next(id for id, found in hosts.members(rollout).items() if found["Ring"] == "canary")
    hosts.at += HOURS
    hosts.env.now = hosts.now
    _, shown = hosts.env.ask(HBR.version, "DescribeTask", TaskId=task)
    assert (shown["Description"], shown["Progress"] >= 0) == ("created", True), shown
    assert [each["Description"] for each in hosts.ask("ListTasks")["Tasks"]] == ["created"]
    hosts.helpers.env.heartbeat(hosts.instance_of(client))
    _, again = hosts.env.ask(HBR.version, "UpgradeBackupClients", ClientIds=[client])
    _, second = hosts.env.ask(HBR.version, "DescribeTask", TaskId=again["TaskId"])
    assert "UpgradeInProgress" in str(second["Result"]), second
    hosts.ask("CancelTask", TaskId=task)
    _, shown = hosts.env.ask(HBR.version, "DescribeTask", TaskId=task)
    assert "TaskCancelled" in str(shown["Result"]), shown


def test_a_task_is_past_its_time_for_every_call_where_servers_look(sqlite_hosts: Fleet) -> None:
    """As before: nobody waits for the worker to note it."""
    hosts = sqlite_hosts
    look = server_of(hosts)
    rollout = begin(hosts, look)
    (task,) = {found["TaskId"] for found in hosts.members(rollout).values() if found["Ring"] == "canary"}
    for _ in range(17):
        look(50)
    hosts.at += 50
    hosts.env.now = hosts.now
    _, shown = hosts.env.ask(HBR.version, "DescribeTask", TaskId=task)
    assert shown["Description"] == "expired", shown


def test_a_clock_set_back_keeps_no_task_open_for_hours(sqlite_hosts: Fleet) -> None:
    """It ends when its 15 minutes have passed, and not when the clock has caught up."""
    hosts = sqlite_hosts
    look = server_of(hosts)
    rollout = begin(hosts, look)
    look(-HOURS)
    for _ in range(17):
        look(50)
    assert (hosts.show(rollout)["State"], states(hosts, rollout)) == ("running", {"upgrading"})
    for _ in range(2):
        look(50)
    assert (hosts.show(rollout)["State"], states(hosts, rollout)) == ("halted", {"lost"})


def test_what_waits_for_its_host_until_a_moment_ends_at_that_moment(sqlite_hosts: Fleet) -> None:
    """Its caller named it, so it goes with the clock."""
    hosts = sqlite_hosts
    look, [client] = server_of(hosts), hosts.grow(1)
    hosts.silent = {hosts.instance_of(client)}
    asked = {"ClientIds": [client], "ExpiresInSeconds": "7200"}
    look(600)  # the host is away
    before, hosts.env.now = hosts.env.now, hosts.now
    status, body = hosts.env.ask(HBR.version, "UpgradeBackupClients", **asked)
    hosts.env.now = before
    assert status == 200, body
    look(1)
    look(HOURS)
    status, body = hosts.env.ask(HBR.version, "DescribeTask", TaskId=body["TaskId"])
    assert (status, body["Description"]) == (200, "expired"), body
