"""Simulate a policy on a fleet: its members, made-up hosts, and the rules that the worker runs."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from backfleet.rollouts.assignment import Candidate, assign, matches, rank_of
from backfleet.rollouts.board import Board
from backfleet.rollouts.model import CheckAnswer, FirstRun, Member, OrderEnd, RingRun, Rollout, Signals
from backfleet.rollouts.policy import Approval, Fault, Kind, Manual, Policy, PolicyRefused, Prometheus, Webhook
from backfleet.rollouts.simulation.engine import Limits, run
from backfleet.rollouts.simulation.groups import Groups, may_group
from backfleet.rollouts.simulation.hosts import Failures, made_up_hosts
from backfleet.rollouts.simulation.results import Curve, report_of
from backfleet.rollouts.states import RolloutState
from backfleet.rollouts.strategy import Timetable

_ID: Final = "simulated"
_NO_LIMITS: Final = Limits()


def members_of(policy: Policy, candidates: Iterable[Candidate], rollout_id: str = _ID) -> list[Member]:
    """Return the members that a policy takes from an inventory.

    Raises:
        PolicyRefused: a ring cannot be filled as written, or no client is selected.
    """
    is_install = policy.kind is Kind.INSTALL
    chosen = [each for each in candidates if matches(policy.select, each) and not (is_install and each.version)]
    if not chosen:
        found, wanted = ("no host", "hosts without a version") if is_install else ("no client", "clients")
        raise PolicyRefused([Fault(0, "select", found, f"select {wanted} of the inventory")])
    assignment = assign(policy, rollout_id, chosen)
    if assignment.unfilled:
        raise PolicyRefused(
            Fault(0, "ring", text, "each ring must be filled as written") for text in assignment.unfilled
        )
    keys = dict.fromkeys((*policy.pace.never_together, *policy.pace.per_domain))
    return [
        Member(
            each.client_id,
            each.instance_id,
            assignment.rings[each.client_id],
            rank_of(rollout_id, each.client_id),
            zone=each.zone,
            domains=tuple((key, each.tags[key]) for key in keys if key in each.tags),
            is_reachable=each.is_reachable,
            from_version=each.version,
        )
        for each in chosen
        if each.client_id in assignment.rings
    ]


def simulate(
    policy: Policy,
    members: Iterable[Member],
    timetable: Timetable,
    *,
    failures: Failures,
    seed: int,
    now: datetime,
    limits: Limits = _NO_LIMITS,
    groups: bool = True,
) -> dict[str, Any]:
    """Simulate a policy's rollout until it ends, or nobody but a person could move it on.

    Approvals and manual checks are taken as given, and what is asked of other systems as answered with yes: the
    simulation shows the policy, not its people.

    Args:
        policy: the policy.
        members: its members, in their rings.
        timetable: its windows and freezes.
        failures: what the release does.
        seed: of the made-up hosts.
        now: when it begins.
        limits: where it is cut off; then `IsComplete` is false.
        groups: whether members that are alike may be simulated as one; what comes out is the same.

    Returns:
        What `report_of` returns.
    """
    found = list(members)
    hosts = dict(made_up_hosts((each.client_id for each in found), failures, seed))
    curve = Curve()
    yes = _everybody_agrees(policy)

    def signals(rollout: Rollout, board: Board, moment: datetime) -> Signals:
        curve.add(rollout, board, moment)
        return yes

    rings = (RingRun(),) * len(policy.rings)
    rollout = Rollout(
        _ID, "", policy, RolloutState.RUNNING, policy.version or policy.channel, rings, "", "", started_at=now
    )
    alike = Groups(found, hosts) if groups and may_group(policy, found) else None
    board = Board(policy, found if alike is None else alike.members())
    history = run(
        rollout, board, hosts, timetable, now=now, limits=limits, signals=signals, keeps_members=False, groups=alike
    )

    def is_bad(client_id: str) -> bool:
        host = hosts[client_id]
        return host.end is not OrderEnd.SUCCEEDED or host.first_run is not FirstRun.SUCCEEDED

    return report_of(history, curve, is_bad, _itself if alike is None else alike.clients_of)


def _itself(member: Member) -> tuple[str, ...]:
    return (member.client_id,)


def _everybody_agrees(policy: Policy) -> Signals:
    answers, approvals, resumed = {}, {}, set()
    for number, ring in enumerate(policy.rings):
        for position, check in enumerate(ring.checks):
            if isinstance(check, Prometheus | Webhook):
                answers[number, position] = CheckAnswer(True, "taken as given")
            elif isinstance(check, Approval):
                approvals[number] = frozenset(map(str, range(check.people)))
            elif isinstance(check, Manual):
                resumed.add(number)
    return Signals(answers=answers, approvals=approvals, resumed=frozenset(resumed))
