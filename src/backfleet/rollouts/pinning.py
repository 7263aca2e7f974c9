"""Members that pins keep from moving: they wait until their pins expire, or are deleted."""

from collections.abc import Iterable
from datetime import datetime

from backfleet import fleet, releases
from backfleet.rollouts.loading import Loaded
from backfleet.rollouts.model import Member
from backfleet.rollouts.policy import Kind
from backfleet.rollouts.records import RolloutRecord
from backfleet.rollouts.states import MemberState
from backfleet.storage import Transaction
from backfleet_host.versions import scheme_of


def refresh_pins(tx: Transaction, record: RolloutRecord, loaded: Loaded, *, now: datetime) -> None:
    """Bring the members that have not begun up to date with the pins that hold now."""
    board = loaded.board
    pending = list(board.all_in_state(MemberState.PENDING))
    pinned = pins_of(tx, record, pending, now=now)
    for member in pending:
        why = pinned.get(member.client_id, "")
        if why != member.pinned:
            board.put(member._replace(pinned=why))


def pins_of(tx: Transaction, record: RolloutRecord, members: Iterable[Member], *, now: datetime) -> dict[str, str]:
    """Return, by client, why pins forbid members to move to the rollout's target; those that may are left out.

    Pins hold versions: settings pass them.
    """
    if record.kind == Kind.SETTINGS or not fleet.has_pins(tx, record.account_id, record.region, now=now):
        return {}
    places = {(member.instance_id, record.package): member.client_id for member in members}
    holds = fleet.holds_of(tx, record.account_id, record.region, places, now=now)
    versions = {member.client_id: member.from_version for member in members}
    refused = refused_by(tx, record.package, record.target_version, holds, places, versions)
    return {client_id: pin.text for client_id, pin in refused.items()}


def refused_by(
    tx: Transaction,
    package: str,
    target: str,
    holds: dict[fleet.Place, fleet.Hold],
    places: dict[fleet.Place, str],
    versions: dict[str, str],
) -> dict[str, fleet.Pin]:
    """Return, by client, the pin that forbids it the target.

    Args:
        tx: the transaction to read in.
        package: of all clients.
        target: the version.
        holds: what holds clients, by place.
        places: the client at each place.
        versions: what each client has.
    """
    scheme = scheme_of(releases.schemes_of(tx, [package])[package])
    found = {}
    for place, hold in holds.items():
        client_id = places[place]
        pin = hold.refusing(scheme, target, versions[client_id])
        if pin is not None:
            found[client_id] = pin
    return found
