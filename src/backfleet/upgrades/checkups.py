"""Checkups: asking hosts for the status of their clients, on a schedule, and soon where an outcome was never reported.

A lost report, a client that somebody changed by hand, a version other than the one we know: the host knows, and
reports it in answer to a status order. Source: failure catalogue F63, F77.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from backfleet import carriers, fleet
from backfleet.carriers import Carrier, Delivery, News
from backfleet.fleet import Change, Client, ClientStatus, Failure
from backfleet.ids import Draw
from backfleet.storage import Database, Transaction
from backfleet.upgrades.outcomes import reported_version, storable
from backfleet_host.contract import Order, Report, read_output
from backfleet_host.layout import VERSION

CHECKUPS: Final = "checkups"
AT_ONCE: Final = 50  # hosts asked in one round: after days away there are many, and no hurry
SECONDS: Final = 120  # that a host may take to answer
RECOVERY_SECONDS: Final = 90  # of these, for recovering from a crash first
ASK_AGAIN: Final = timedelta(seconds=60)  # after an answer from the middle of an upgrade
RETENTION: Final = timedelta(days=2)  # how long answers are kept
MOST_DRIFT: Final = 50  # sentences
MOST_FAILURES: Final = 50  # versions

_FAILED: Final = (ClientStatus.UPGRADE_FAILED, ClientStatus.INSTALL_FAILED, ClientStatus.UNINSTALL_FAILED)


def run_checkups_once(
    database: Database,
    *,
    now: datetime,
    draw: Draw,
    every: timedelta,
    reachable_within: timedelta,
    carrier: Carrier,
) -> bool:
    """Record what hosts answered, and ask those that are due. True if there were more answers than one round takes.

    Args:
        every: how long after its last checkup a client is due.
        reachable_within: hosts that could not be given work for longer are not asked.
    """
    with database.transaction() as tx:
        news = carrier.news(tx, CHECKUPS, limit=AT_ONCE)
        if news:
            _record(tx, news, carrier, now, every)
        due = fleet.take_unchecked(
            tx, before=now - every, reachable_since=now - reachable_within, limit=AT_ONCE, now=now
        )
        if due:
            _ask(tx, due, carrier, now, draw)
    return len(news) == AT_ONCE


def _ask(tx: Transaction, due: Sequence[Client], carrier: Carrier, now: datetime, draw: Draw) -> None:
    # A host that never fetched its last question finds one question, not one for every day.
    carriers.cancel(tx, CHECKUPS, [reference_of(client.id, client.checked_at) for client in due], now=now)
    deliveries = [
        Delivery(
            account_id=client.account_id,
            instance_id=client.instance_id,
            order=_question(client, now),
            timeout_seconds=SECONDS,
            reference=reference_of(client.id, now),
        )
        for client in due
    ]
    carrier.send(tx, deliveries, topic=CHECKUPS, now=now, draw=draw)


def _question(client: Client, now: datetime) -> Order:
    return Order(order_id_of(client.id, now), "status", client.package, "", "", RECOVERY_SECONDS)


def _record(tx: Transaction, news: Sequence[News], carrier: Carrier, now: datetime, every: timedelta) -> None:
    asked = [(*read_reference(one.reference), one.outcome.output.decode(errors="replace")) for one in news]
    known = fleet.clients_for_update(tx, sorted({client_id for client_id, _, _ in asked}))
    changes = [
        change_after(known[client_id], asked_at, output, ask_again_at=now - every + ASK_AGAIN)
        for client_id, asked_at, output in asked
        if client_id in known
    ]
    fleet.set_clients(tx, [change for change in changes if change is not None], now=now)
    carrier.mark_collected(tx, news)
    carriers.forget(tx, CHECKUPS, before=now - RETENTION)


def change_after(client: Client, asked_at: datetime, output: str, *, ask_again_at: datetime) -> Change | None:
    """Return what a host's answer changes about what is known of a client; None for nothing. Pure.

    An answer that an order or a newer report has overtaken says nothing about the client as it is now. Neither does
    one from the middle of an upgrade, whose task may be over here: that version may yet be rolled back, so the host is
    asked again.

    Args:
        asked_at: when the question was asked that this answers.
        output: all that the host printed.
        ask_again_at: the `checked_at` of a client whose host is asked again soon.
    """
    _, report = read_output(output)
    if report is None or report.package != client.package or report.order_id != order_id_of(client.id, asked_at):
        return None
    if client.is_moving or _milliseconds(client.checked_at) != _milliseconds(asked_at):
        return None
    version, status = reported_version(report), _package_status(report)
    if report.kind != "status" or report.outcome != "succeeded" or version is None or status is None:
        return None
    if status.get("attempt_open"):
        return Change(client.id, unsure=True, checked_at=ask_again_at)
    failure = failure_after(client, version, status, asked_at)
    change = Change(client.id, _client_status(client, version), version, drift_of(status), failure=failure)
    if (client.version, client.drift) == (version, change.drift) and change.status is None and failure is None:
        return Change(client.id, confirmed=True)
    return change


def _client_status(client: Client, version: str) -> ClientStatus | None:
    """Return the client's new status; None if it stays.

    A client whose order failed as far as we knew has the version of that order all the same: then it did not fail.
    """
    if not version:
        return ClientStatus.NOT_INSTALLED if client.is_installed else None
    installs_another = client.status is ClientStatus.INSTALL_FAILED  # the one that is there did not fail
    if client.status in _FAILED and version == client.version and not installs_another:
        return None
    return None if client.status is ClientStatus.ACTIVATED else ClientStatus.ACTIVATED


def _package_status(report: Report) -> Mapping[str, Any] | None:
    """Return what a status report has about its own package; {} for nothing; None if that may have been cut out.

    A report that was too long to send is cut: what is missing in it means nothing then.
    """
    packages = report.details.get("packages")
    reported = [each for each in packages if isinstance(each, dict)] if isinstance(packages, list) else []
    missing: Mapping[str, Any] | None = None if report.details.get("cut") else {}
    return next((each for each in reported if each.get("package") == report.package), missing)


def drift_of(status: Mapping[str, Any]) -> str:
    """Return what differs on the host from what the last order left there, one sentence a line."""
    drift = status.get("drift")
    sentences = [line for line in drift if isinstance(line, str)] if isinstance(drift, list) else []
    return "\n".join(storable(" ".join(line.split())) for line in sentences[:MOST_DRIFT])


def failure_after(client: Client, version: str, status: Mapping[str, Any], now: datetime) -> Failure | None:
    """Return what a status adds to the last failure that is known of a client; None for nothing.

    A host lists the versions that were rolled back there. Of those that are quarantined the newest counts.
    """
    listed = status.get("failures")
    found = [_rolled_back(*each) for each in list(listed.items())[:MOST_FAILURES]] if isinstance(listed, dict) else []
    quarantined = [one for one in found if one and one.version != version and (one.quarantined_until or now) > now]
    newest = max(quarantined, key=lambda one: one.at, default=None)
    known = client.failure
    if newest is None or (known and known.version != newest.version and known.at > newest.at):
        return None
    if known and known.version == newest.version:  # it has more: the code of the order, and what was printed
        newest = replace(known, quarantined_until=newest.quarantined_until)
    return None if newest == known else newest


def _rolled_back(version: Any, record: Any) -> Failure | None:
    """Return one of the failures that a host lists; None if it is malformed."""
    try:
        at, until = (datetime.fromtimestamp(int(record[name]), UTC) for name in ("at", "until"))
        reason = storable(str(record["reason"]))
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return None
    return Failure("RolledBack", reason, version, at, "", until) if re.fullmatch(VERSION, version) else None


def reference_of(client_id: str, asked_at: datetime) -> str:
    """Return the reference of a question."""
    return f"{client_id}+{_milliseconds(asked_at)}"


def read_reference(reference: str) -> tuple[str, datetime]:
    """Return which client a question was about, and when it was asked."""
    client_id, _, milliseconds = reference.partition("+")
    return client_id, datetime.fromtimestamp(int(milliseconds) / 1000, UTC)


def order_id_of(client_id: str, asked_at: datetime) -> str:
    """Return the id of a question's order."""
    return f"{client_id}-{_milliseconds(asked_at)}"


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
