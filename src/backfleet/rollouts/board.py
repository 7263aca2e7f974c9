"""The members of one rollout, indexed: a decision reads counts, and only the members that can move."""

import heapq
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from backfleet.rollouts.model import FirstRun, Member, OrderEnd
from backfleet.rollouts.policy import Policy
from backfleet.rollouts.states import FAILURES, MemberState

BACKUP_FAILED = "BackupFailed"
"""The code of a member whose first real backup under the new version failed."""

NO_BACKUP_SEEN = "NoBackupSeen"
"""The code of a member for which no backup was seen for as long as the policy waits."""

_MOVING = (MemberState.UPGRADING, MemberState.ROLLING_BACK)
_TOGETHER = (*_MOVING, MemberState.VERIFYING)
_MAY_STILL_REPORT = (MemberState.LOST, MemberState.EXPIRED)
_NEVER_FAIL = frozenset({MemberState.PENDING, MemberState.UPGRADING, MemberState.SUCCEEDED, MemberState.ALREADY_THERE})
_RUNS_IT = (MemberState.SUCCEEDED, MemberState.VERIFYING, *_MAY_STILL_REPORT)
_NO_REPORT = (OrderEnd.LOST, OrderEnd.BUSY, OrderEnd.WITHDRAWN)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_Entry = tuple[int, str]  # (-rank, client id): the lowest rank is the last one, where removing is cheap


def counts_as_failure(member: Member, counts: frozenset[str]) -> bool:
    """Return whether a member uses up the budget.

    Args:
        member: the member.
        counts: what the policy counts beside failures: "skipped", "refused".
    """
    return fails(
        member.state,
        member.code,
        member.first_run,
        counts,
        has_begun=member.begun_at is not None,
        by_order=member.rolled_back_once,
    )


def fails(
    state: MemberState, code: str, first_run: FirstRun, counts: frozenset[str], *, has_begun: bool, by_order: bool
) -> bool:
    """Return whether a member in this state uses up the budget; see `counts_as_failure`.

    `by_order`: an order to roll back was sent. One that goes back because its rollout does has not failed by that.
    """
    if state in _NEVER_FAIL:
        return False
    goes_by_order = state is MemberState.ROLLED_BACK and by_order
    if (state in FAILURES and not goes_by_order) or (state is MemberState.ROLLING_BACK and code == BACKUP_FAILED):
        return True
    if goes_by_order or state is MemberState.VERIFYING:  # one that verifies waits for its turn to be rolled back
        return first_run is FirstRun.FAILED
    if state is MemberState.EXPIRED:
        return has_begun
    if state is MemberState.SKIPPED:
        return ("refused" if code else "skipped") in counts
    return False


def _has_first_run(member: Member) -> bool:
    """Return whether a first backup is asked of a member: one that refused, or never got there, has none to show."""
    if member.begun_at is None:
        return False
    return member.state in _RUNS_IT or member.code in (BACKUP_FAILED, NO_BACKUP_SEEN)


def _is_due(member: Member) -> bool:
    if member.state is MemberState.VERIFYING:
        return member.first_run in (FirstRun.SUCCEEDED, FirstRun.FAILED)
    if member.end is None or member.begun_at is None:
        return False
    return member.state in _MOVING or (member.state in _MAY_STILL_REPORT and member.end not in _NO_REPORT)


def _differs_in_facts_only(before: Member, member: Member) -> bool:
    """Return whether what became known of a member changes none of the indexes but those of its order's end."""
    return (
        before.state is member.state
        and before.state is not MemberState.PENDING
        and before.ring == member.ring
        and before.begun_at == member.begun_at
        and before.code == member.code
        and before.domains == member.domains
        and before.size == member.size
    )


class Board:
    """All members of a rollout. `put` replaces one; everything else reads. Counts are of members, also where one stands
    for several that are alike.
    """

    def __init__(self, policy: Policy, members: Iterable[Member] = ()) -> None:
        self._counts_beside = policy.failure.counts
        self._members: dict[str, Member] = {}
        self._by_state: list[dict[MemberState, dict[str, None]]] = [{} for _ in policy.rings]
        self._counts: list[dict[MemberState, int]] = [{} for _ in policy.rings]
        self._size = 0
        self._ready: list[dict[str, list[_Entry]]] = [{} for _ in policy.rings]
        self._wakes: list[tuple[datetime, str]] = []
        self._begun: list[datetime] = []
        self._due: dict[str, None] = {}
        self.failures: Counter[int] = Counter()  # by ring
        self.first_runs: Counter[tuple[int, FirstRun]] = Counter()  # of members that run the new version
        self.moving_in: Counter[tuple[str, str]] = Counter()  # members under way, by value of a tag
        self.having: Counter[tuple[str, str]] = Counter()  # all members, by value of a tag
        self.together_in: Counter[tuple[str, str]] = Counter()  # the same and those that are verifying
        self._is_loading = True  # sorting once is cheaper than inserting each in its place
        for member in members:
            self.put(member)
        self._is_loading = False
        for zones in self._ready:
            for entries in zones.values():
                entries.sort()
        for states in self._by_state:  # those first that began to wait first, in whatever order they were stored
            verifying = states.get(MemberState.VERIFYING, {})
            by_age = sorted(verifying, key=lambda each: (self._members[each].since or _LONG_AGO, each))
            states[MemberState.VERIFYING] = dict.fromkeys(by_age)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def __getitem__(self, client_id: str) -> Member:
        return self._members[client_id]

    def __contains__(self, client_id: object) -> bool:
        return client_id in self._members

    def put(self, member: Member) -> None:
        """Add a member, or replace it by its newer form."""
        before = self._members.get(member.client_id)
        self._members[member.client_id] = member
        if before is None:
            self.having.update(member.domains)
            self._place(member)
            self._list(member)
            if member.begun_at is not None:
                self._note_begun(member.begun_at, member.size)
            return
        if before.domains != member.domains:
            self.having.subtract(before.domains)
            self.having.update(member.domains)
        if _differs_in_facts_only(before, member):
            self._change_facts(before, member)
            return
        self._unlist(before)
        if before.state is not member.state or before.ring != member.ring:
            self._displace(before)
            self._place(member)
        elif before.size != member.size:
            self._counts[member.ring][member.state] += member.size - before.size
            self._size += member.size - before.size
        self._list(member)
        if member.begun_at is not None and before.begun_at != member.begun_at:
            self._note_begun(member.begun_at, member.size)

    def drop(self, client_id: str) -> None:
        """Forget a member whose client is no more: shares are computed from those that are left."""
        member = self._members.pop(client_id)
        self._displace(member)
        self._unlist(member)
        self.having.subtract(member.domains)

    def ring_size(self, ring: int) -> int:
        """Return how many members a ring has."""
        return sum(self._counts[ring].values())

    def count(self, ring: int, *states: MemberState) -> int:
        """Return how many members of a ring are in one of these states."""
        found = self._counts[ring]
        return sum(found.get(state, 0) for state in states)

    def count_all(self, *states: MemberState) -> int:
        """Return how many members of all rings are in one of these states."""
        return sum(self.count(ring, *states) for ring in range(len(self._by_state)))

    def in_state(self, ring: int, *states: MemberState) -> Iterator[Member]:
        """Yield the members of a ring in one of these states, those first that came into it first."""
        for state in states:
            for client_id in self._by_state[ring].get(state, ()):
                yield self._members[client_id]

    def all_in_state(self, *states: MemberState) -> Iterator[Member]:
        """Yield the members of all rings in one of these states."""
        for ring in range(len(self._by_state)):
            yield from self.in_state(ring, *states)

    def due(self) -> Iterator[Member]:
        """Yield the members whose order, or whose first backup, has ended since they came into their state."""
        for client_id in self._due:
            yield self._members[client_id]

    def zones(self, ring: int) -> list[str]:
        """Return the time zones of the members of a ring that could begin."""
        return sorted(zone for zone, entries in self._ready[ring].items() if entries)

    def ready(self, ring: int, zones: Iterable[str]) -> Iterator[Member]:
        """Yield the members of a ring that could begin, in the order of their rank."""
        queues = [reversed(self._ready[ring][zone]) for zone in zones if zone in self._ready[ring]]
        merged = queues[0] if len(queues) == 1 else heapq.merge(*queues, reverse=True)
        for _, client_id in merged:
            yield self._members[client_id]

    def can_begin(self, ring: int) -> bool:
        """Return whether any member of a ring could begin, by what is known of its host."""
        return any(self._ready[ring].values())

    def begun_after(self, moment: datetime) -> int:
        """Return how many members' orders left after this moment."""
        return len(self._begun) - bisect_left(self._begun, moment)

    def oldest_begun_after(self, moment: datetime) -> datetime | None:
        """Return when the first order after this moment left."""
        at = bisect_left(self._begun, moment)
        return self._begun[at] if at < len(self._begun) else None

    def most_begun_within(self, span: timedelta) -> int:
        """Return how many orders left within the busiest span of this length."""
        begun, first, most = self._begun, 0, 0
        for at, moment in enumerate(begun):
            while moment - begun[first] >= span:
                first += 1
            most = max(most, at - first + 1)
        return most

    def next_wake(self, now: datetime) -> datetime | None:
        """Make members ready that were to be asked again by now; return when the next one is due."""
        while self._wakes and self._wakes[0][0] <= now:
            at, client_id = heapq.heappop(self._wakes)
            member = self._members.get(client_id)
            if member is not None and member.not_before == at and self._may_begin(member):
                self._insert(member)
        return self._wakes[0][0] if self._wakes else None

    # --- The indexes --------------------------------------------------------------------------------------------

    @staticmethod
    def _may_begin(member: Member) -> bool:
        is_free = not member.is_held and not member.pinned and not member.moved_by
        return member.state is MemberState.PENDING and member.is_reachable and is_free

    def _place(self, member: Member) -> None:
        self._by_state[member.ring].setdefault(member.state, {})[member.client_id] = None
        counts = self._counts[member.ring]
        counts[member.state] = counts.get(member.state, 0) + member.size
        self._size += member.size

    def _displace(self, member: Member) -> None:
        del self._by_state[member.ring][member.state][member.client_id]
        self._counts[member.ring][member.state] -= member.size
        self._size -= member.size

    def _list(self, member: Member) -> None:
        """Count a member in the indexes by what is known of it."""
        if member.state is MemberState.PENDING and member.begun_at is None:  # nearly all, nearly always
            self._list_pending(member)
            return
        if member.state not in _NEVER_FAIL and counts_as_failure(member, self._counts_beside):
            self.failures[member.ring] += member.size
        if member.domains:
            self._count_domains(member, 1)
        if _has_first_run(member):
            self.first_runs[member.ring, member.first_run] += member.size
        if _is_due(member):
            self._due[member.client_id] = None
        self._list_pending(member)

    def _list_pending(self, member: Member) -> None:
        if not self._may_begin(member):
            return
        if member.not_before is None:
            self._insert(member)
        else:
            heapq.heappush(self._wakes, (member.not_before, member.client_id))

    def _change_facts(self, before: Member, member: Member) -> None:
        if before.first_run is not member.first_run:
            if _has_first_run(member):
                self.first_runs[member.ring, before.first_run] -= member.size
                self.first_runs[member.ring, member.first_run] += member.size
            counts = self._counts_beside
            fails_now, failed = counts_as_failure(member, counts), counts_as_failure(before, counts)
            if fails_now is not failed:
                self.failures[member.ring] += member.size if fails_now else -member.size
        if _is_due(member):
            self._due[member.client_id] = None
        else:
            self._due.pop(member.client_id, None)

    def _unlist(self, member: Member) -> None:
        """Take a member out of the indexes that `_list` put it in."""
        if member.state is MemberState.PENDING:
            self._unlist_pending(member)
            if member.begun_at is None:
                return
        self._due.pop(member.client_id, None)
        if _has_first_run(member):
            self.first_runs[member.ring, member.first_run] -= member.size
        if member.state not in _NEVER_FAIL and counts_as_failure(member, self._counts_beside):
            self.failures[member.ring] -= member.size
        if member.domains:
            self._count_domains(member, -1)

    def _unlist_pending(self, member: Member) -> None:
        entries = self._ready[member.ring].get(member.zone, [])
        if entries and entries[-1][1] == member.client_id:  # it is its turn
            entries.pop()
            return
        at = bisect_left(entries, (-member.rank, member.client_id))
        if at < len(entries) and entries[at][1] == member.client_id:
            del entries[at]

    def _insert(self, member: Member) -> None:
        entry = (-member.rank, member.client_id)
        entries = self._ready[member.ring].setdefault(member.zone, [])
        if self._is_loading or not entries or entry > entries[-1]:
            entries.append(entry)
        else:
            at = bisect_left(entries, entry)
            if at == len(entries) or entries[at] != entry:
                entries.insert(at, entry)

    def _note_begun(self, moment: datetime, size: int) -> None:
        if not self._begun or moment >= self._begun[-1]:
            self._begun.extend([moment] * size)
        else:
            at = bisect_right(self._begun, moment)
            self._begun[at:at] = [moment] * size

    def _count_domains(self, member: Member, by: int) -> None:
        if member.state in _TOGETHER:
            for domain in member.domains:
                self.together_in[domain] += by
                if member.state in _MOVING:
                    self.moving_in[domain] += by
