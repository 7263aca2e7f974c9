"""What a policy would do to the fleet as it is now: its members, its target, and everything that forbids it."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from backfleet import fleet, notifications, releases
from backfleet.fleet import Client, Instance, Pin
from backfleet.rollouts import _overlaps
from backfleet.rollouts.assignment import Assignment, Candidate, assign, matches, rank_of
from backfleet.rollouts.installing import MeantClient, clients_meant
from backfleet.rollouts.model import Member
from backfleet.rollouts.pinning import refused_by
from backfleet.rollouts.policy import Fault, Kind, Policy, PolicyRefused
from backfleet.rollouts.policy.zones import zone_of
from backfleet.rollouts.targets import NotToBeHad, faults_of_paths, target_of, without_path
from backfleet.rollouts.windows import window_faults
from backfleet.storage import Transaction
from backfleet.values import value_object
from backfleet_host.texts import counted
from backfleet_host.versions import scheme_of

SHOWN: Final = 5  # ids named in a fault


@value_object
class PinnedMember:
    """A member that a pin keeps from moving now, and the pin."""

    client_id: str
    instance_id: str
    host: str  # what people call it
    pin: Pin


@value_object
class Plan:
    """The members of a rollout and its target, or the faults that forbid it.

    `already_there`: how many selected clients have the target version, as their hosts have confirmed, and are no
    members; of an install: that are installed, in whatever version. A member of an install that has no client yet has
    its instance's id instead. `left_out`: clients that no ring takes. `pinned`: members that a pin keeps from moving
    now. `not_to_be_had`: for which of the selected hosts there is no such release, or no way to it, and why.
    """

    policy: Policy
    target_version: str
    members: tuple[Member, ...]
    left_out: tuple[str, ...]
    already_there: int
    faults: tuple[Fault, ...]
    pinned: tuple[PinnedMember, ...] = ()
    not_to_be_had: tuple[NotToBeHad, ...] = ()

    @property
    def members_sha256(self) -> str:
        """The hash of the list of members and their rings: what an approver agrees to."""
        return members_sha256((member.client_id, member.ring) for member in self.members)


def members_sha256(members: Iterable[tuple[str, int]]) -> str:
    """Return the hash of clients and the numbers of their rings."""
    listed = sorted(f"{client_id} {ring}" for client_id, ring in members)
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()


def plan(
    tx: Transaction,
    account_id: str,
    region: str,
    policy: Policy,
    rollout_id: str,
    *,
    now: datetime,
    reachable_within: timedelta,
) -> Plan:
    """Plan a policy's rollout. Nothing is written.

    Args:
        tx: the transaction to read in.
        account_id: whose clients.
        region: where they are.
        policy: the policy.
        rollout_id: by which members are ranked.
        now: the time.
        reachable_within: an instance that could not be given work for longer is no canary.
    """
    scheme = releases.schemes_of(tx, [policy.package])[policy.package]
    away = fleet.out_of_reach(tx, account_id, region, reachable_since=now - reachable_within)
    minimum = minimum_of(tx, account_id, region, policy.package)
    selected = {
        client.id: (client, instance, tags)
        for client, instance, tags in clients_meant(tx, account_id, region, policy, now=now)
        if matches(policy.select, candidate_of(client, instance, tags, away, scheme, minimum))
    }
    goal = target_of(tx, policy, _hosts_of(policy, selected.values()))
    target, faults = goal.version, list(goal.faults)
    there = {client.id for client, _, _ in selected.values() if is_there(policy, target, client)}
    candidates = [
        candidate_of(client, instance, tags, away, scheme, minimum)
        for client, instance, tags in selected.values()
        if client.id not in there
    ]
    pinned = _pinned(tx, policy, target, candidates, account_id, region, now)
    no_path = without_path(tx, policy, target, candidates)
    candidates = _for_canaries(candidates, pinned, no_path)
    assignment = assign(policy, rollout_id, candidates)
    faults += _faults(policy, target, candidates, assignment, len(there), now)
    faults += _range_faults(policy, scheme) + _minimum_faults(policy, target, minimum, scheme)
    faults += faults_of_paths(target, no_path, len(candidates))
    faults += overlaps(tx, policy, list(assignment.rings), rollout_id) + _notify_faults(tx, account_id, policy)
    faults += window_faults(tx, account_id, policy, Counter(each.zone for each in candidates), now)
    members = _members(policy, rollout_id, candidates, assignment)
    held = _held(members, pinned, selected)
    lacking = (*goal.not_to_be_had, *no_path)
    return Plan(policy, target, tuple(members), assignment.left_out, len(there), tuple(faults), held, lacking)


def faults_beside(
    tx: Transaction, account_id: str, region: str, refused: PolicyRefused, *, now: datetime
) -> list[Fault]:
    """Return what is wrong with the parts of a policy that can be read, beside the faults of its text.

    What depends on a part that has a fault is left out: nothing can be said of it.
    """
    policy = refused.partial
    if policy is None:
        return []
    bad = {fault.key.partition(".")[0].partition("[")[0] for fault in refused.faults}
    faults = _pace_faults(policy) + _notify_faults(tx, account_id, policy)
    if "deadline" not in bad and policy.deadline <= now:
        faults.append(_is_over(policy))
    if not bad & {"window", "deadline"}:
        faults += window_faults(tx, account_id, policy, {}, now)
    if not bad & {"package", "version", "channel", "kind"}:
        faults += target_of(tx, policy, []).faults
        if "select" not in bad and not _selected(tx, account_id, region, policy, now):
            faults.append(_nobody(policy, 0))
    return [fault for fault in faults if fault.key.partition(".")[0] not in bad]


def _selected(tx: Transaction, account_id: str, region: str, policy: Policy, now: datetime) -> bool:
    """Return whether a policy means anybody."""
    scheme = releases.schemes_of(tx, [policy.package])[policy.package]
    minimum = minimum_of(tx, account_id, region, policy.package)
    return any(
        matches(policy.select, candidate_of(client, instance, tags, set(), scheme, minimum))
        for client, instance, tags in clients_meant(tx, account_id, region, policy, now=now)
    )


def _is_over(policy: Policy) -> Fault:
    return Fault(0, "deadline", f"{policy.deadline:%Y-%m-%d %H:%M} UTC", "give a time that is to come")


def is_there(policy: Policy, target: str, client: Client) -> bool:
    """Return whether nothing is to be done with a client: it has the version, or for an install any."""
    return client.is_installed if policy.kind is Kind.INSTALL else client.version == target and not client.in_doubt


def _hosts_of(policy: Policy, selected: Iterable[MeantClient]) -> list[Instance]:
    """Return the hosts that need a release: of an install, those that have none of the package."""
    is_install = policy.kind is Kind.INSTALL
    return [instance for client, instance, _ in selected if not (is_install and client.is_installed)]


def _pinned(
    tx: Transaction,
    policy: Policy,
    target: str,
    candidates: Sequence[Candidate],
    account_id: str,
    region: str,
    now: datetime,
) -> dict[str, Pin]:
    """Return the candidates that a pin keeps from the target now. Pins hold versions: settings pass them."""
    if policy.kind is Kind.SETTINGS or not fleet.has_pins(tx, account_id, region, now=now):
        return {}
    places = {(each.instance_id, policy.package): each.client_id for each in candidates}
    holds = fleet.holds_of(tx, account_id, region, places, now=now)
    versions = {each.client_id: each.version for each in candidates}
    return refused_by(tx, policy.package, target, holds, places, versions)


def _for_canaries(
    candidates: Sequence[Candidate], pinned: Mapping[str, Pin], no_path: Sequence[NotToBeHad]
) -> list[Candidate]:
    """Return candidates of which those are marked that make no canaries, as nothing is learned from them."""
    cut_off = {(each.platform, each.from_version) for each in no_path}
    marks = ((each.client_id in pinned, (each.platform, each.version) in cut_off) for each in candidates)
    return [
        replace(each, is_pinned=is_pinned, is_cut_off=is_cut_off) if is_pinned or is_cut_off else each
        for each, (is_pinned, is_cut_off) in zip(candidates, marks, strict=True)
    ]


def _held(
    members: Sequence[Member], pinned: Mapping[str, Pin], selected: Mapping[str, MeantClient]
) -> tuple[PinnedMember, ...]:
    """Return the members that are pinned, those first whose pins end last: they keep a rollout open the longest."""
    held = []
    for member in members:
        if member.client_id in pinned:
            instance = selected[member.client_id][1]
            host = instance.name or instance.hostname or instance.id
            held.append(PinnedMember(member.client_id, instance.id, host, pinned[member.client_id]))
    latest_first = sorted(held, key=lambda each: (each.pin.expires_at, each.client_id), reverse=True)
    return tuple(latest_first)


def _pace_faults(policy: Policy) -> list[Fault]:
    amounts = {"in_flight": policy.pace.in_flight, "per_hour": policy.pace.per_hour}
    wanted = "give at least 1, or a percentage above 0%: with none nothing would move"
    return [Fault(0, f"pace.{key}", "0", wanted) for key, amount in amounts.items() if amount and amount.is_none]


def _notify_faults(tx: Transaction, account_id: str, policy: Policy) -> list[Fault]:
    known = {each.name for each in notifications.destinations_of(tx, account_id)} if policy.notify.to else set()
    wanted = "no destination has this name; add it with `backfleet notify add`, or see `backfleet notify list`"
    return [Fault(0, "notify.to", repr(name), wanted) for name in policy.notify.to if name not in known]


def _faults(
    policy: Policy, target: str, candidates: Sequence[Candidate], assignment: Assignment, there: int, now: datetime
) -> list[Fault]:
    faults = _pace_faults(policy)
    if policy.deadline <= now:
        faults.append(_is_over(policy))
    if not candidates:
        faults.append(_nobody(policy, there))
        return faults
    faults += [Fault(0, "ring", text, "each ring must be filled as written") for text in assignment.unfilled]
    newer = [each.client_id for each in candidates if is_newer(each, target)]
    if newer and policy.kind not in (Kind.INSTALL, Kind.ROLL_BACK, Kind.SETTINGS):
        named = ", ".join(newer[:SHOWN])
        wanted = 'exclude them, or write `kind = "roll-back"`'
        faults.append(
            Fault(0, "version", f"{clients_that(len(newer), 'has', 'have')} a newer version ({named})", wanted)
        )
    return faults + _faults_of_roll_back(policy, target, candidates)


def _faults_of_roll_back(policy: Policy, target: str, candidates: Sequence[Candidate]) -> list[Fault]:
    """Return the clients that a roll-back would have to bring up."""
    if policy.kind is not Kind.ROLL_BACK:
        return []
    older = [each.client_id for each in candidates if scheme_of(each.scheme).is_older(each.version, target)]
    if not older:
        return []
    found = f"{clients_that(len(older), 'has', 'have')} an older version ({', '.join(older[:SHOWN])})"
    wanted = 'a roll-back only goes down: name a version below theirs, exclude them, or write `kind = "upgrade"`'
    return [Fault(0, "version", found, wanted)]


def _nobody(policy: Policy, there: int) -> Fault:
    if policy.kind is not Kind.INSTALL:
        if there:
            has = f"no client to move: {clients_that(there, 'has', 'have')} the target version"
            return Fault(0, "select", has, "select clients that do not have the target version yet")
        wanted = f"no client of {policy.package} is meant by it, whatever its version: see `backfleet client list`"
        return Fault(0, "select", "no client", wanted)
    if there:
        has = f"no host without {policy.package}: {there} selected {'host has' if there == 1 else 'hosts have'} it"
        return Fault(0, "select", has, 'select others; a policy of `kind = "upgrade"` moves those that have it')
    return Fault(0, "select", "no host", "select enrolled hosts, see `backfleet instance list`")


def is_newer(candidate: Candidate, target: str) -> bool:
    """Return whether a client has a newer version than the target."""
    return scheme_of(candidate.scheme).is_older(target, candidate.version)


def clients_that(number: int, one: str, many: str) -> str:
    """Return how many clients do something."""
    return f"{counted(number, 'client')} {one if number == 1 else many}"


def overlaps(tx: Transaction, policy: Policy, client_ids: Sequence[str], rollout_id: str) -> list[Fault]:
    """Return as faults which other rollouts that have not ended move some of these clients."""
    if policy.overlap == "wait":
        return []
    others = _overlaps.open_elsewhere(tx, client_ids, rollout_id)
    return [
        Fault(
            0,
            "select",
            f"{clients_that(number, 'is a member', 'are members')} of rollout {other}",
            'exclude them, or write `overlap = "wait"`',
        )
        for other, number in sorted(Counter(others.values()).items())
    ]


def _members(policy: Policy, rollout_id: str, candidates: Sequence[Candidate], assignment: Assignment) -> list[Member]:
    return [
        new_member(policy, rollout_id, each, assignment.rings[each.client_id])
        for each in candidates
        if each.client_id in assignment.rings
    ]


def new_member(policy: Policy, rollout_id: str, candidate: Candidate, ring: int) -> Member:
    """Return a client as a member of a ring."""
    keys = dict.fromkeys((*policy.pace.never_together, *policy.pace.per_domain))
    return Member(
        client_id=candidate.client_id,
        instance_id=candidate.instance_id,
        ring=ring,
        rank=rank_of(rollout_id, candidate.client_id),
        zone=candidate.zone,
        domains=tuple((key, candidate.tags[key]) for key in keys if key in candidate.tags),
        is_reachable=candidate.is_reachable and not candidate.is_pinned,  # until the pins are read for a decision
        from_version=candidate.version,
    )


def minimum_of(tx: Transaction, account_id: str, region: str, package: str) -> str:
    """Return the minimum version of a package; "" if it has none."""
    found = fleet.minimum_of(tx, account_id, region, package)
    return "" if found is None else found.version


def _minimum_faults(policy: Policy, target: str, minimum: str, scheme: str) -> list[Fault]:
    if not policy.select.below_minimum:
        return []
    if not minimum:
        wanted = f"there is no minimum version of {policy.package}; `backfleet minimum set` puts one"
        return [Fault(0, "select.below_minimum", "true", wanted)]
    if fleet.is_below(scheme_of(scheme), target, minimum):
        wanted = f"give a version that is not below the minimum, {minimum}: clients would stay below it"
        return [Fault(0, "version", target, wanted)]
    return []


def _range_faults(policy: Policy, scheme: str) -> list[Fault]:
    """Return the ranges that cannot be read: such a selector takes nobody, and such an exclusion spares nobody."""
    selectors = {"select": policy.select} | {f"ring[{at}].select": ring.select for at, ring in enumerate(policy.rings)}
    faults = []
    for key, selector in selectors.items():
        for name, each in ((key, selector), (f"{key}.exclude", selector.exclude if selector else None)):
            if each is not None and not scheme_of(scheme).is_range(each.versions):
                wanted = 'give a range of versions, such as ">=1.70,<1.75" or "==1.74.0"'
                faults.append(Fault(0, f"{name}.versions", repr(each.versions), wanted))
    return faults


def candidate_of(
    client: Client, instance: Instance, tags: Mapping[str, str], away: set[str], scheme: str, minimum: str
) -> Candidate:
    """Return a client as a policy sees it. `minimum`: the minimum version of its package, "" if there is none."""
    return Candidate(
        client_id=client.id,
        instance_id=instance.id,
        version=client.version,
        platform=instance.platform,
        channel=client.channel,
        tags=tags,
        is_reachable=instance.id not in away,
        zone=instance.time_zone if zone_of(instance.time_zone) is not None else "",
        scheme=scheme,
        is_below_minimum=fleet.is_below(scheme_of(scheme), client.version, minimum),
    )
