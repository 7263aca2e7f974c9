"""The members of rollouts, kept in memory between decisions, and refreshed by what changed in the world."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from backfleet import backups, fleet, upgrades
from backfleet.fleet import Client
from backfleet.rollouts import _some_members, _store
from backfleet.rollouts.board import Board
from backfleet.rollouts.model import FirstRun, Member, OrderEnd
from backfleet.rollouts.orders import ended
from backfleet.rollouts.policy import Kind, Then
from backfleet.rollouts.records import MemberRecord, RolloutRecord
from backfleet.rollouts.sending import Sent
from backfleet.rollouts.states import MemberState, RolloutState
from backfleet.rollouts.strategy.ends import LONGEST_PAUSE
from backfleet.storage import Transaction

_AWAITED: Final = (MemberState.UPGRADING, MemberState.ROLLING_BACK)
_UNKNOWN: Final = (MemberState.LOST, MemberState.EXPIRED)
_SAYS: Final = {
    OrderEnd.SUCCEEDED: "its host says that it has the version that it was to get",
    OrderEnd.ROLLED_BACK: "its host says that it does not have this version",
    OrderEnd.FAILED: "its host says that it still has the version of the rollout",
}
"""What is said of a lost member whose host's version tells how it ended."""
_MOST_CACHED: Final = 20  # rollouts


@dataclass(slots=True)
class Loaded:
    """The members of one rollout as of a revision, and the items that move them."""

    revision: int
    board: Board
    sent: dict[str, Sent]
    movers_at: datetime | None = None  # when other rollouts of its clients were looked for
    newcomers_at: datetime | None = None  # when the fleet was last read for clients that came in

    def record_of(self, client_id: str) -> MemberRecord:
        """Return a member as it is stored."""
        found = self.sent.get(client_id, Sent("", ""))
        return MemberRecord(self.board[client_id], found.task_id, found.item_id)


class Boards:
    """Boards of the rollouts that this process decided last. One that another process changed is read anew."""

    def __init__(self) -> None:
        self._loaded: dict[str, Loaded] = {}

    def load(self, tx: Transaction, record: RolloutRecord) -> Loaded:
        """Return a rollout's members, as of its revision."""
        found = self._loaded.pop(record.id, None)  # a transaction that fails must not leave it changed
        if found is None or found.revision != record.revision:
            found = load_members(tx, record)
        return found

    def keep(self, rollout_id: str, loaded: Loaded) -> None:
        """Keep what was committed, for the next decision."""
        while len(self._loaded) >= _MOST_CACHED:
            del self._loaded[next(iter(self._loaded))]
        self._loaded[rollout_id] = loaded


def load_members(tx: Transaction, record: RolloutRecord) -> Loaded:
    """Return a rollout's members with their orders, read anew."""
    return _loaded(record, _store.members_of(tx, record.id))


def load_outline(tx: Transaction, record: RolloutRecord) -> Loaded:
    """Return what tells whether a rollout halts now: its members in outline, with the ends that are known since."""
    loaded = _loaded(record, _some_members.outline(tx, record.id))
    _refresh_ends(tx, record, loaded)
    return loaded


def _loaded(record: RolloutRecord, found: Sequence[MemberRecord]) -> Loaded:
    sent = {each.member.client_id: Sent(each.task_id, each.item_id) for each in found if each.item_id}
    return Loaded(record.revision, Board(record.document, (each.member for each in found)), sent)


def refresh(
    tx: Transaction, record: RolloutRecord, loaded: Loaded, *, now: datetime, reachable_within: timedelta
) -> list[str]:
    """Bring the members up to date with their orders, hosts and clients.

    Returns:
        Members whose client is no more: they are dropped from the board.
    """
    board = loaded.board
    _refresh_ends(tx, record, loaded)
    away = fleet.out_of_reach(tx, record.account_id, record.region, reachable_since=now - reachable_within)
    for member in list(board.all_in_state(MemberState.PENDING)):
        is_reachable = member.instance_id not in away
        was_set_back = member.not_before is not None and member.not_before > now + LONGEST_PAUSE  # the clock
        if was_set_back or is_reachable is not member.is_reachable:
            not_before = now if was_set_back else member.not_before
            board.put(member._replace(is_reachable=is_reachable, not_before=not_before))
    existing = fleet.ids_of_package(tx, record.account_id, record.region, record.package)
    gone = [member.client_id for member in board if member.client_id not in existing]
    for client_id in gone:
        board.drop(client_id)
        loaded.sent.pop(client_id, None)
    return gone


def _refresh_ends(tx: Transaction, record: RolloutRecord, loaded: Loaded) -> None:
    _refresh_orders(tx, loaded)
    _refresh_lost(tx, record, loaded)
    _refresh_first_runs(tx, record, loaded)
    _refresh_elsewhere(tx, record, loaded)


def _refresh_orders(tx: Transaction, loaded: Loaded) -> None:
    awaited = [member for member in loaded.board.all_in_state(*_AWAITED) if member.end is None]
    items = upgrades.find_items(tx, [loaded.sent[each.client_id].item_id for each in awaited])
    for member in awaited:
        item = items.get(loaded.sent[member.client_id].item_id)
        if item is None:  # its task was forgotten: nobody will report on it
            loaded.board.put(member._replace(end=OrderEnd.LOST, end_text="its task is no longer stored"))
            continue
        found = ended(item)
        if found is not None:
            loaded.board.put(member._replace(end=found.end, code=found.code, end_text=found.text))


def _refresh_lost(tx: Transaction, record: RolloutRecord, loaded: Loaded) -> None:
    """Find out what became of lost members: their hosts may have reported since, to whoever asked."""
    lost = [each for each in loaded.board.all_in_state(*_UNKNOWN) if each.begun_at is not None]
    if not lost:
        return
    sent = {each.client_id: loaded.sent[each.client_id].item_id for each in lost if each.client_id in loaded.sent}
    items = upgrades.find_items(tx, list(sent.values()))  # one that was to be tried again has no order now
    clients = fleet.resolve(tx, record.account_id, record.region, [], [each.client_id for each in lost]).clients
    for member in lost:
        item = items.get(sent.get(member.client_id, ""))
        found = None if item is None else ended(item)
        by_version = None if record.kind == Kind.SETTINGS else _end_by_version(member, record.target_version, clients)
        end = by_version if found is None else found.end
        tells_nothing = end in (OrderEnd.BUSY, OrderEnd.WITHDRAWN) and member.state is MemberState.LOST
        if end is OrderEnd.LOST or tells_nothing:
            end = by_version or end
        if end is not None and end is not member.end:
            says = found.text if found is not None and found.end is end else _SAYS.get(end, "")
            loaded.board.put(member._replace(end=end, end_text=says))


def _refresh_first_runs(tx: Transaction, record: RolloutRecord, loaded: Loaded) -> None:
    """Find out how the first backup under the new version ended, of members that wait for it or may have had it."""
    awaited = [
        member
        for member in loaded.board.all_in_state(MemberState.VERIFYING, *_UNKNOWN)
        if member.begun_at is not None and member.first_run in (FirstRun.NONE, FirstRun.UNKNOWN)
    ]
    since = {member.client_id: member.begun_at for member in awaited if member.begun_at is not None}
    results = backups.first_results(tx, record.target_version or None, since)  # settings: under any version
    for member in awaited:
        found = FirstRun(results.get(member.client_id, ""))
        if found is not member.first_run:
            loaded.board.put(member._replace(first_run=found))


def _refresh_elsewhere(tx: Transaction, record: RolloutRecord, loaded: Loaded) -> None:
    """Find out which members others have moved on: what they have now is not this rollout's to take back."""
    may_go_back = _may_go_back(record, loaded.board)
    if not may_go_back:
        return
    found = fleet.ids_by_version(tx, record.account_id, record.region, record.package)
    found.pop(record.target_version, None)
    versions = {client_id: version for version, ids in found.items() for client_id in ids}
    for member in may_go_back:
        version = versions.get(member.client_id, "")
        elsewhere = "" if version == member.from_version else version
        if elsewhere != member.elsewhere:
            loaded.board.put(member._replace(elsewhere=elsewhere))


def _may_go_back(record: RolloutRecord, board: Board) -> list[Member]:
    """Return the members that this decision may take back. Settings are of no version: nobody brings others."""
    if record.kind == Kind.SETTINGS:
        return []
    if record.state is RolloutState.ROLLING_BACK:
        return [each for each in board if each.given_at is not None]
    if record.document.failure.then is Then.HOLD:
        return []
    return [each for each in board.all_in_state(MemberState.VERIFYING) if each.first_run is FirstRun.FAILED]


def _end_by_version(member: Member, target: str, clients: Mapping[str, Client]) -> OrderEnd | None:
    client = clients.get(member.client_id)
    if client is None or client.in_doubt or member.begun_at is None:
        return None
    if client.confirmed_at is None or client.confirmed_at <= member.begun_at:
        return None
    has_target = client.version == target
    if member.rolled_back_once:  # its last order was to go back
        return OrderEnd.FAILED if has_target else OrderEnd.SUCCEEDED
    return OrderEnd.SUCCEEDED if has_target else OrderEnd.ROLLED_BACK
