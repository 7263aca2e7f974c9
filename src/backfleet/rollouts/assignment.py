"""Which clients a policy selects, and in which ring each is. Pure: a hash of rollout and client decides."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Final

from backfleet.filter_expressions import Expression, Subject
from backfleet.rollouts.policy import Policy, Ring, Selector
from backfleet.values import value_object
from backfleet_host.versions import FIRST_SCHEME, scheme_of

SITE: Final = "site"
"""The tag over whose values the first ring is spread, beside those that the policy's pace names."""


@value_object
class Candidate:
    """A client that a policy may select."""

    client_id: str
    instance_id: str
    version: str
    platform: str
    channel: str
    tags: Mapping[str, str] = field(default_factory=dict)
    is_reachable: bool = True
    zone: str = ""
    scheme: str = FIRST_SCHEME  # how the versions of its package compare
    is_below_minimum: bool = False  # its version is below the minimum of its package
    is_pinned: bool = False  # a pin keeps it from the target now
    is_cut_off: bool = False  # no upgrade path leads from its version to the target

    @property
    def makes_a_canary(self) -> bool:
        """Whether something can be learned from it soon."""
        return self.is_reachable and not self.is_pinned and not self.is_cut_off


@value_object
class Assignment:
    """The ring of each member, those that no ring takes, and the rings that cannot be filled as written."""

    rings: Mapping[str, int]  # by client
    left_out: tuple[str, ...]
    unfilled: tuple[str, ...]  # for people: what was asked for, found, and would do


def matches(selector: Selector, candidate: Candidate, *, if_unknown: bool = False) -> bool:
    """Return whether a selector means a client.

    Args:
        selector: the selector.
        candidate: the client.
        if_unknown: the answer where `where` cannot be decided, for versions that do not compare: such a client is
            neither selected nor spared from an exclusion.
    """
    if selector.exclude is not None and matches(selector.exclude, candidate, if_unknown=True):
        return False
    return (
        all(_has(candidate, key, values) for key, values in selector.tags.items())
        and (candidate.is_below_minimum or not selector.below_minimum)
        and scheme_of(candidate.scheme).within(candidate.version, selector.versions)
        and _is_among(candidate.platform, selector.platforms)
        and _is_among(candidate.channel, selector.channels)
        and (not (selector.instances or selector.clients) or _is_named(selector, candidate))
        and _holds(selector.where, candidate, if_unknown=if_unknown)
    )


def _holds(where: Expression | None, candidate: Candidate, *, if_unknown: bool) -> bool:
    if where is None:
        return True
    fields = {
        "client": candidate.client_id, "instance": candidate.instance_id, "version": candidate.version,
        "platform": candidate.platform, "channel": candidate.channel,
    }  # fmt: skip
    found = where.holds(Subject(fields, candidate.tags, candidate.scheme))
    return if_unknown if found is None else found


def rank_of(rollout_id: str, client_id: str) -> int:
    """Return a member's place: the same for ever, and in another order for every rollout."""
    return int.from_bytes(hashlib.sha256(f"{rollout_id}\n{client_id}".encode()).digest()[:6])


def assign(policy: Policy, rollout_id: str, candidates: Iterable[Candidate]) -> Assignment:
    """Assign selected clients to the rings of a policy, in the order of the rings."""
    left = sorted(candidates, key=lambda each: (rank_of(rollout_id, each.client_id), each.client_id))
    total = len(left)
    rings: dict[str, int] = {}
    unfilled = []
    for number, ring in enumerate(policy.rings):
        wanted = _wanted(ring, total, len(left))
        able = [each for each in left if ring.select is None or matches(ring.select, each)]
        taken = _first_ring(policy, able, wanted) if _are_canaries(ring, number) else able[:wanted]
        if len(taken) < wanted and (ring.count is not None or _are_canaries(ring, number)):
            unfilled.append(_too_few(ring, wanted, len(taken), total, able if number == 0 else ()))
        elif not taken:
            unfilled.append(f"ring {ring.name}: no client is left for it; {total} are selected")
        chosen = {each.client_id for each in taken}
        rings |= dict.fromkeys(chosen, number)
        left = [each for each in left if each.client_id not in chosen]
    return Assignment(rings, tuple(each.client_id for each in left), tuple(unfilled))


def ring_of_newcomer(policy: Policy, candidate: Candidate, sizes: Sequence[int]) -> int | None:
    """Return the ring of a client that comes in while the rollout runs; None if no ring takes it.

    Rings of a count stay as they are. One of a percentage takes it if the ring then is no larger than its share, so no
    ring becomes the whole fleet because others left.

    Args:
        policy: the policy.
        candidate: the newcomer, which the policy selects.
        sizes: how many members each ring has now.
    """
    total = sum(sizes) + 1
    for number, ring in enumerate(policy.rings):
        if ring.select is not None and matches(ring.select, candidate):
            return number
        if ring.percent is not None and sizes[number] + 1 <= int(total * ring.percent / 100 + 1e-9):
            return number
        if ring.is_the_rest:
            return number
    return None


def _are_canaries(ring: Ring, number: int) -> bool:
    """Return whether a ring is chosen among the clients that can be reached."""
    return number == 0 and (ring.count is not None or ring.percent is not None)


def _wanted(ring: Ring, total: int, left: int) -> int:
    if ring.count is not None:
        return ring.count
    if ring.percent is not None:
        return max(1, int(total * ring.percent / 100 + 1e-9)) if total else 0
    return left


def _first_ring(policy: Policy, able: Sequence[Candidate], wanted: int) -> list[Candidate]:
    """Return canaries, spread over the values of the tags that matter, by rank within each."""
    keys = (SITE, *policy.pace.never_together, *policy.pace.per_domain)
    by_domain: dict[tuple[str, ...], list[Candidate]] = defaultdict(list)
    for each in able:
        if each.makes_a_canary:
            by_domain[tuple(each.tags.get(key, "") for key in keys)].append(each)
    queues = [list(reversed(members)) for members in by_domain.values()]
    taken: list[Candidate] = []
    while len(taken) < wanted and queues:
        for queue in queues:
            if len(taken) < wanted:
                taken.append(queue.pop())
        queues = [queue for queue in queues if queue]
    return taken


def _too_few(ring: Ring, wanted: int, found: int, total: int, canaries: Sequence[Candidate]) -> str:
    """Return why a ring cannot be filled, and what to do.

    Args:
        ring: the ring.
        wanted: how many it asks for.
        found: how many there are for it.
        total: how many clients are selected.
        canaries: those that the first ring chooses from, as it leaves out who is away or pinned; none for a later ring.
    """
    cut_off = sum(each.is_cut_off for each in canaries)
    pinned = sum(each.is_pinned and not each.is_cut_off for each in canaries)
    away = sum(not (each.is_reachable or each.is_pinned or each.is_cut_off) for each in canaries)
    because = [f"{away} cannot be reached now"] if away else []
    because += [f"{pinned} {'is' if pinned == 1 else 'are'} pinned"] if pinned else []
    because += (
        [f"{cut_off} cannot come to the version from {'its' if cut_off == 1 else 'their'} own"] if cut_off else []
    )
    advice = []
    if away and found + away >= wanted:
        advice.append("wait until enough hosts are back, see `backfleet instance list`")
    if pinned and found + away < wanted <= found + away + pinned:
        advice.append("wait for the end of pins, see `backfleet client pins`")
    if cut_off and found + away + pinned < wanted:
        advice.append("add the intermediate version that it requires")
    if found:
        advice.append(f"write `count = {found}`")
    kind = "reachable clients" if canaries else "clients"
    why = f" ({', '.join(because)})" if because else ""
    what = ", or ".join(advice) or "select more clients, or leave the ring out"
    return f"ring {ring.name}: it asks for {wanted} {kind}, {found} of {total} selected are left{why}; {what}"


def _has(candidate: Candidate, key: str, values: Sequence[str]) -> bool:
    found = candidate.tags.get(key)
    return found is not None and (not values or found in values)


def _is_among(value: str, values: Sequence[str]) -> bool:
    return not values or value in values


def _is_named(selector: Selector, candidate: Candidate) -> bool:
    return candidate.instance_id in selector.instances or candidate.client_id in selector.clients
