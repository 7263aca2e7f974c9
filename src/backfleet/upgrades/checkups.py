"""Asking hosts how their clients stand: on a schedule, and soon where an outcome was never heard.

A lost report, a client that somebody else changed, a version that is not what we believe: the host knows, and tells it
in the report of a status order. Source: failure catalogue F63, F77.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from backfleet import commands, fleet
from backfleet.carriers.bootstrap import Bootstrap, command_for
from backfleet.commands import NewInvocation, Outcome
from backfleet.fleet import AgentKind, Change, Client, ClientStatus
from backfleet.ids import Draw
from backfleet.storage import Database, Transaction
from backfleet.upgrades.outcomes import kept, told_version
from backfleet_host.contract import Order, Report, read_output

CHECKUPS: Final = "checkups"
AT_ONCE: Final = 50  # hosts asked in one look: a server that was away for days has many to ask, and time
SECONDS: Final = 120  # that a host may take to answer
PATIENCE: Final = 90  # of these, for making good what a crash left there
KEPT: Final = timedelta(days=2)  # how long answers are kept
MOST_DRIFT: Final = 50  # sentences

_FAILED: Final = (ClientStatus.UPGRADE_FAILED, ClientStatus.INSTALL_FAILED, ClientStatus.UNINSTALL_FAILED)


def run_checkups_once(
    database: Database,
    *,
    now: datetime,
    draw: Draw,
    every: timedelta,
    fit_within: timedelta,
    bringing: Bootstrap | None = None,
) -> bool:
    """Take in what hosts told, and ask those whose turn it is. True if more was told than one look takes in."""
    with database.transaction() as tx:
        news = commands.outcomes(tx, CHECKUPS, limit=AT_ONCE)
        if news:
            _take(tx, news, now)
        _ask(tx, now, draw, every, fit_within, bringing)
    return len(news) == AT_ONCE


def _ask(
    tx: Transaction, now: datetime, draw: Draw, every: timedelta, fit_within: timedelta, bringing: Bootstrap | None
) -> None:
    due = fleet.take_unchecked(tx, before=now - every, heard_since=now - fit_within, limit=AT_ONCE, now=now)
    if not due:
        return
    foreign = _official(tx, [client.instance_id for client in due]) if bringing else set()
    sends = [
        NewInvocation(
            account_id=client.account_id,
            instance_id=client.instance_id,
            content=_content(client, now, bringing if client.instance_id in foreign else None),
            timeout_seconds=SECONDS,
            reference=reference_of(client.id, now),
        )
        for client in due
    ]
    # Of a client whose host never came for the last question, one question waits, not one for every day.
    commands.stop(tx, CHECKUPS, [reference_of(client.id, client.checked_at) for client in due], now=now)
    commands.send(tx, sends, topic=CHECKUPS, now=now, draw=draw)


def _official(tx: Transaction, instance_ids: Sequence[str]) -> set[str]:
    kinds = fleet.agent_kinds(tx, instance_ids)
    return {instance_id for instance_id, kind in kinds.items() if kind is AgentKind.OFFICIAL}


def _content(client: Client, now: datetime, bringing: Bootstrap | None) -> str:
    order = Order(order_id_of(client.id, now), "status", client.package, patience=PATIENCE)
    return order.as_command() if bringing is None else command_for(order, bringing)


def _take(tx: Transaction, news: Sequence[Outcome], now: datetime) -> None:
    asked = {outcome.reference: read_reference(outcome.reference) for outcome in news}
    known = fleet.clients_for_update(tx, sorted({client_id for client_id, _ in asked.values()}))
    changes = [
        change_after(known[client_id], at, outcome.output.decode(errors="replace"))
        for outcome in news
        for client_id, at in [asked[outcome.reference]]
        if client_id in known
    ]
    fleet.set_clients(tx, [change for change in changes if change is not None], now=now)
    commands.mark_collected(tx, news)
    commands.drop_before(tx, CHECKUPS, now - KEPT)


def change_after(client: Client, asked_at: datetime, output: str) -> Change | None:
    """What is now known of a client, from what its host answered to the question of `asked_at`; None for nothing new.

    An answer that was overtaken by an order, or by a later word of the host, says nothing of how it stands now; one
    from the midst of an upgrade neither: that version may yet be taken back. Pure.
    """
    _, report = read_output(output)
    if report is None or report.package != client.package or report.order_id != order_id_of(client.id, asked_at):
        return None
    if client.is_moving or _milliseconds(client.checked_at) != _milliseconds(asked_at):
        return None
    version = told_version(report)
    if report.kind != "status" or report.outcome != "succeeded" or version is None:
        return None
    standing = _standing(report)
    if standing is None or standing.get("attempt_open"):
        return None
    change = Change(client.id, _status(client, version), version, drift_of(standing))
    return None if (client.version, client.drift) == (version, change.drift) and change.status is None else change


def _status(client: Client, version: str) -> ClientStatus | None:
    """An order that failed as far as we knew, and took effect all the same, was well. Else the status stays."""
    if not version:
        return ClientStatus.NOT_INSTALLED if client.is_installed else None
    if client.status in _FAILED and version == client.version:
        return None
    return None if client.status is ClientStatus.ACTIVATED else ClientStatus.ACTIVATED


def _standing(report: Report) -> Mapping[str, Any] | None:
    """What a status report tells of its own package, {} where there is nothing of it; None where it was cut out.

    A report that was too long to send is cut: what is not in it says nothing then.
    """
    packages = report.details.get("packages")
    told = [each for each in packages if isinstance(each, dict)] if isinstance(packages, list) else []
    unsaid: Mapping[str, Any] | None = None if report.details.get("cut") else {}
    return next((each for each in told if each.get("package") == report.package), unsaid)


def drift_of(standing: Mapping[str, Any]) -> str:
    """What is not as it was left, one sentence a line."""
    told = standing.get("drift")
    sentences = [line for line in told if isinstance(line, str)] if isinstance(told, list) else []
    return "\n".join(kept(" ".join(line.split())) for line in sentences[:MOST_DRIFT])


def reference_of(client_id: str, asked_at: datetime) -> str:
    """The name of a question's command."""
    return f"{client_id}+{_milliseconds(asked_at)}"


def read_reference(reference: str) -> tuple[str, datetime]:
    """Whose client was asked for, and when."""
    client_id, _, milliseconds = reference.partition("+")
    return client_id, datetime.fromtimestamp(int(milliseconds) / 1000, UTC)


def order_id_of(client_id: str, asked_at: datetime) -> str:
    """The id of a question's order."""
    return f"{client_id}-{_milliseconds(asked_at)}"


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
