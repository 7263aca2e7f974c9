"""A fleet whose backups run nearly all day: everybody is done by the deadline, and no backup is interrupted."""

from datetime import datetime, timedelta
from random import Random

from backfleet.rollouts.board import Board
from backfleet.rollouts.model import Rollout
from backfleet.rollouts.policy import Amount, Pace, Ring
from backfleet.rollouts.simulation import Host, run
from backfleet.rollouts.simulation.engine import Limits
from backfleet.rollouts.states import MemberState, RolloutState
from rollouts.strategy.decisions import NOW, PENDING, Zones, policy, some

HOSTS, DAYS = 2_000, 7
DRAIN = timedelta(minutes=30)  # new runs wait in the shim for so long, near the end of the one that runs
DAY = timedelta(days=1)
ASKED_AT = timedelta(hours=15)  # 03:00 on the next day: when a rule "only when idle" looks


def busy_host(random: Random) -> Host:
    """Return a host whose backup begins at one time of the day and runs for 18 to 23 hours, with some jitter."""
    begins, usual = timedelta(hours=random.uniform(0, 24)), random.uniform(18.1, 22.9)
    spans = []
    for day in range(-1, DAYS + 1):
        begin = NOW + day * DAY + begins + timedelta(minutes=random.uniform(-5, 5))
        hours = min(23.0, max(18.0, random.gauss(usual, 0.2)))
        spans.append((begin, begin + timedelta(hours=hours)))
    return Host(upgrade=timedelta(minutes=2), first_run=None, busy=tuple(spans), drain=DRAIN)


def is_done_only_when_idle(host: Host) -> bool:
    """Return whether a rule that looks once a day, and goes away where a backup runs, ever gets to a host."""
    return any(host.busy_until(NOW + day * DAY + ASKED_AT) is None for day in range(DAYS))


def test_2000_hosts_that_back_up_for_18_to_23_hours_a_day_are_all_done_and_none_is_interrupted() -> None:
    """Beside it: "only when idle" leaves hosts behind for ever, "kill at the deadline" interrupts their backups."""
    random = Random(7)
    members = [*some(20), *some(HOSTS - 20, ring=1)]
    hosts = {member.client_id: busy_host(random) for member in members}
    begun: dict[str, datetime] = {}
    document = policy(
        Ring("canary", count=20), Ring("rest"), deadline=NOW + DAYS * DAY, pace=Pace(Amount(percent=100), ramp=False)
    )
    rollout = Rollout("ro-1", "1", document, RolloutState.RUNNING, "2.0", (PENDING,) * 2, "a", "s", started_at=NOW)
    history = run(rollout, Board(document, members), hosts, Zones(), now=NOW, limits=Limits(timedelta(minutes=5)))
    done = [each for each in history.board if each.state is MemberState.SUCCEEDED]
    assert (len(done), history.rollout.state) == (HOSTS, RolloutState.COMPLETED)
    for member in done:
        host = hosts[member.client_id]
        assert member.begun_at is not None
        free_at = host.busy_until(member.begun_at)  # the order waits for the backup that runs: the drain is long enough
        begun[member.client_id] = free_at or member.begun_at
        assert free_at is None or free_at - member.begun_at <= DRAIN
        assert host.busy_until(begun[member.client_id]) is None
    left = sum(not is_done_only_when_idle(host) for host in hosts.values())
    assert left > HOSTS // 2
    killed = sum(not is_done_only_when_idle(host) and host.busy_until(document.deadline) is not None
                 for host in hosts.values())  # fmt: skip
    assert killed > HOSTS // 3


def test_canaries_that_turn_out_to_be_busy_are_waited_for() -> None:
    """All orders of the first ring come back at once: the next ring does not start for that."""
    members = [*some(3), *some(5, ring=1)]
    hosts = {each.client_id: Host(first_run=None) for each in members}
    for each in members[:2]:
        hosts[each.client_id] = Host(first_run=None, busy=((NOW, NOW + timedelta(hours=5)),), drain=DRAIN)
    document = policy(Ring("canary", count=3), Ring("rest"), pace=Pace(Amount(percent=100), ramp=False))
    rollout = Rollout("ro-1", "1", document, RolloutState.RUNNING, "2.0", (PENDING,) * 2, "a", "s", started_at=NOW)
    history = run(rollout, Board(document, members), hosts, Zones(), now=NOW)
    started = next(each.at for each in history.events if (each.name, each.to) == ("rest", "running"))
    assert started > NOW + timedelta(hours=4)
    assert history.rollout.state is RolloutState.COMPLETED
