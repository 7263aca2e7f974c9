"""Reading rollouts as people are shown them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from backfleet import fleet
from backfleet.paging import Listing, Page
from backfleet.rollouts import _overlaps, _store
from backfleet.rollouts.events import Event
from backfleet.rollouts.figures import Figures, figures_of
from backfleet.rollouts.model import Member, RingRun
from backfleet.rollouts.pinning import pins_of
from backfleet.rollouts.policy import GOES_BACK
from backfleet.rollouts.records import MemberRecord, RolloutRecord
from backfleet.rollouts.states import ENDED, MemberState, RingState, RolloutState, rollout_may_move
from backfleet.storage import Transaction
from backfleet.values import value_object

WAITING = "waiting"
NOT_BEGUN = "not_begun"
STOPPED = "stopped"


@value_object
class RingView:
    """One ring: how far it is, and how many members are in each shown state."""

    name: str
    run: RingRun
    members: int
    counts: dict[str, int]


@value_object
class RolloutView:
    """A rollout with its rings."""

    record: RolloutRecord
    rings: tuple[RingView, ...]
    figures: Figures
    can_go_back: bool  # there are members that may have what it brings, and could be rolled back now


def view(tx: Transaction, records: Sequence[RolloutRecord], now: datetime) -> list[RolloutView]:
    """Return rollouts with their rings counted, in a constant number of queries."""
    counts = _store.counts_of(tx, [record.id for record in records])
    figures = figures_of(tx, records, counts, now)
    back = that_can_go_back(tx, records)
    return [
        RolloutView(record, _rings(record, counts[record.id]), figures[record.id], record.id in back)
        for record in records
    ]


def that_can_go_back(tx: Transaction, records: Sequence[RolloutRecord]) -> frozenset[str]:
    """Return the ids of rollouts that can be rolled back, and of which a member may have what it brings."""
    may = [
        record.id
        for record in records
        if record.kind in GOES_BACK
        and not record.unreadable
        and rollout_may_move(record.state, RolloutState.ROLLING_BACK)
        and not goes_back_whole(record)
    ]
    return _store.that_can_go_back(tx, may)


def view_latest(tx: Transaction, *, ended_after: datetime, limit: int, now: datetime) -> list[RolloutView]:
    """Return the newest rollouts of all accounts that have not ended, or ended after this moment."""
    return view(tx, _store.latest(tx, ended_after=ended_after, limit=limit), now)


def find_all(
    tx: Transaction, account_id: str, region: str, states: Sequence[str], page: Page
) -> Listing[RolloutRecord]:
    """Return a page of an account's rollouts, newest first; in these states, or in all."""
    return _store.page_of(tx, account_id, region, states, page)


def members(
    tx: Transaction,
    record: RolloutRecord,
    ring: int | None,
    states: Sequence[str],
    page: Page,
    *,
    reachable_since: datetime,
    now: datetime,
) -> Listing[MemberRecord]:
    """Return a page of members: of one ring, and in these states, or all.

    Args:
        tx: the transaction to read in.
        record: the rollout.
        ring: the number of a ring; None = every ring.
        states: states; none = all.
        page: which part of the list.
        reachable_since: a host that could not be given work since this moment counts as away.
        now: the time: pins that have expired by then do not count.
    """
    wanted = [MemberState.PENDING.value if state == WAITING else state for state in states]
    found = _store.members_page(tx, record.id, ring, wanted, page)
    away = fleet.out_of_reach(tx, record.account_id, record.region, reachable_since=reachable_since)
    pinned = pins_of(tx, record, [each.member for each in found.items], now=now)
    movers = _overlaps.open_in_older(tx, record, [each.member.client_id for each in found.items])
    here = [
        replace(
            each,
            member=each.member._replace(
                is_reachable=each.member.instance_id not in away,
                pinned=pinned.get(each.member.client_id, ""),
                moved_by=movers.get(each.member.client_id, ""),
            ),
        )
        for each in found.items
    ]
    return Listing(here, found.total)


def goes_back_whole(record: RolloutRecord) -> bool:
    """Return whether a rollout goes back with all of its rings."""
    return record.state is RolloutState.ROLLING_BACK and record.roll_back_ring is None


def created_before(
    tx: Transaction, account_id: str, client_token: str, fingerprint: str, *, now: datetime
) -> RolloutRecord | None:
    """Return the rollout that this ClientToken created; None if the token is new or was forgotten.

    Raises:
        TokenReused: the token came with other parameters before.
    """
    rollout_id = _store.client_tokens.find(tx, account_id, client_token, fingerprint, now=now)
    return None if rollout_id is None else _store.rollout(tx, account_id, rollout_id)


def remember_creation(
    tx: Transaction, account_id: str, client_token: str, fingerprint: str, rollout_id: str, *, until: datetime
) -> None:
    """Remember which rollout a ClientToken created.

    Raises:
        Conflict: another call was first with the token.
    """
    _store.client_tokens.bind(tx, account_id, client_token, fingerprint, rollout_id, until=until)


def events(tx: Transaction, record: RolloutRecord, *, after: int, limit: int) -> list[Event]:
    """Return what happened after this event, oldest first."""
    return _store.events_after(tx, record.id, after, limit)


def shown_reason(record: RolloutRecord) -> str:
    """Return why a rollout is in its state; where its policy cannot be read, also that."""
    if not record.unreadable or record.reason == record.unreadable:
        return record.reason
    return "; ".join(filter(None, (record.reason, record.unreadable)))


def shown_state(record: RolloutRecord, member: Member) -> str:
    """Return a member's state as people see it: pending in a ring that runs is waiting."""
    run = record.ring_runs[member.ring]
    is_waiting = member.state is MemberState.PENDING and run.state is not RingState.PENDING
    return WAITING if is_waiting else member.state.value


def shown_ring(record: RolloutRecord, run: RingRun) -> str:
    """Return a ring's state as people see it: nothing of a rollout that has ended, or goes back, is to begin."""
    goes_on = record.state not in (*ENDED, RolloutState.ROLLING_BACK)
    if goes_on or run.state is RingState.FINISHED:
        return run.state.value
    return NOT_BEGUN if run.started_at is None else STOPPED


def wait_reason(record: RolloutRecord, member: Member, now: datetime) -> str:
    """Return what a member that has not begun waits for; never empty for one."""
    if member.state is not MemberState.PENDING:
        return ""
    for applies, text in (
        (bool(record.unreadable), record.unreadable),
        (record.state is not RolloutState.RUNNING, _state_and_reason(record)),
        (member.is_held, "it is held"),
        (bool(member.pinned), member.pinned),
        (bool(member.moved_by), f"rollout {member.moved_by} moves it, and has not ended with it"),
        (member.not_before is not None and member.not_before > now, member.reason),
        (not member.is_reachable, "its host cannot be reached"),
        (
            record.ring_runs[member.ring].state is RingState.PENDING,
            f"its ring has not started{': ' + record.waits_for if record.waits_for else ''}",
        ),
    ):
        if applies:
            return text
    return record.waits_for or "its turn, by pace, window and domains"


def _state_and_reason(record: RolloutRecord) -> str:
    reason = f": {record.reason}" if record.reason else ""
    return f"the rollout is {record.state.replace('_', ' ')}{reason}"


def _rings(record: RolloutRecord, counts: dict[tuple[int, str], int]) -> tuple[RingView, ...]:
    runs = record.ring_runs
    found = []
    for number, name in enumerate(record.ring_names):
        here = {state: count for (of, state), count in counts.items() if of == number}
        if runs[number].state is not RingState.PENDING and MemberState.PENDING.value in here:
            here[WAITING] = here.pop(MemberState.PENDING.value)
        found.append(RingView(name, runs[number], sum(here.values()), here))
    return tuple(found)
