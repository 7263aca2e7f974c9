"""Figures of what happens: how orders ended, what waits and for how long, which hosts are in trouble, what ends soon.

Read in one transaction with the other figures, for all accounts at once where that is one question to the database.
"""

from datetime import datetime, timedelta
from typing import Final

from prometheus_client import Gauge

from backfleet import backups, commands, fleet, hold, notifications, releases, upgrades
from backfleet.carriers import ecs
from backfleet.fleet import CarrierKind
from backfleet.operations.noticing import certificate_ends
from backfleet.settings import Settings
from backfleet.storage import Transaction
from backfleet.values import value_object

RECENT: Final = timedelta(hours=1)  # for which an order that ended is counted

ENDED: Final = Gauge(
    "backfleet_orders_ended",
    "Clients' orders that ended within the last hour, by outcome and code.",
    ["account", "package", "kind", "outcome", "code"],
)
OPEN: Final = Gauge("backfleet_orders_open", "Clients' orders that have not ended, by state.", ["account", "state"])
OPEN_AGE: Final = Gauge(
    "backfleet_orders_oldest_seconds", "Age of the oldest order that has not ended, by state.", ["account", "state"]
)
COMMANDS: Final = Gauge("backfleet_commands_waiting", "Commands that their agents have not fetched.", ["account"])
COMMANDS_AGE: Final = Gauge("backfleet_commands_oldest_seconds", "Age of the oldest of these commands.", ["account"])
NOTICES: Final = Gauge("backfleet_notifications_waiting", "Notifications that have not arrived.", ["account"])
NOTICES_AGE: Final = Gauge("backfleet_notifications_oldest_seconds", "Age of the oldest of these.", ["account"])
TROUBLED: Final = Gauge(
    "backfleet_instances_troubled",
    "Instances whose agents have no connection (deaf), or that several hosts say they are (cloned).",
    ["account", "trouble"],
)
OVERDUE: Final = Gauge(
    "backfleet_backups_overdue", "Clients whose next backup did not begin when it usually does.", ["account"]
)
ENDS: Final = Gauge(
    "backfleet_ends_timestamp_seconds",
    "When the certificates of the server and its authority, and the signed root and targets of releases, end.",
    ["what"],
)
HELD: Final = Gauge("backfleet_held", "1 while nothing is moved after a restore, until an operator has looked.")
DELTAS: Final = Gauge(
    "backfleet_deltas",
    "Deltas between releases: made, failed (tried again later), useless (of no use for these two versions).",
    ["package", "state"],
)
DELTA_DOWNLOADS: Final = Gauge("backfleet_delta_downloads", "Downloads of deltas that hosts reported.", ["package"])
SAVED: Final = Gauge(
    "backfleet_delta_saved_bytes", "What these hosts did not download of whole artifacts.", ["package"]
)
CLOUDS: Final = Gauge(
    "backfleet_cloud_accounts",
    "Cloud accounts, by the code of the problem that they have now; none where the cloud answers.",
    ["account", "carrier", "problem"],
)
_ALL: Final = (ENDED, OPEN, OPEN_AGE, COMMANDS, COMMANDS_AGE, NOTICES, NOTICES_AGE, TROUBLED, OVERDUE, ENDS, CLOUDS)
_OF_RELEASES: Final = (DELTAS, DELTA_DOWNLOADS, SAVED)


@value_object
class Happening:
    """What the database says now, by account."""

    ended: dict[tuple[str, str, str, str, str], int]
    open: dict[tuple[str, str], tuple[int, datetime]]
    commands: dict[str, tuple[int, datetime]]
    notices: dict[str, tuple[int, datetime]]
    troubled: dict[tuple[str, str], int]
    overdue: dict[str, int]
    ends: dict[str, datetime]
    is_held: bool
    deltas: list[releases.DeltaFigures]
    clouds: dict[tuple[str, CarrierKind, str], int]


def read(tx: Transaction, settings: Settings, accounts: list[str], now: datetime) -> Happening:
    """Return what happens in these accounts; accounts without an instance have no figures of hosts."""
    reachable_since = now - timedelta(seconds=settings.fit_seconds)
    troubled, overdue = {}, {}
    for account in (each for each in accounts if fleet.count_instances(tx, each)):
        troubled[account, "deaf"] = fleet.count_presence(tx, account, reachable_since=reachable_since)[1]
        troubled[account, "cloned"] = fleet.count_cloned(tx, account, now=now)
        overdue[account] = len(backups.overdue(tx, account, settings.region, now=now))
    restore = hold.state(tx)
    return Happening(
        ended=upgrades.count_ended(tx, since=now - RECENT),
        open=upgrades.count_open(tx),
        commands=commands.count_waiting(tx),
        notices=notifications.count_waiting(tx),
        troubled=troubled,
        overdue=overdue,
        ends=certificate_ends(settings.data) | releases.endings(tx),
        is_held=restore is not None and restore.is_held,
        deltas=releases.delta_figures(tx),
        clouds=ecs.count_accounts(tx),
    )


def show(found: Happening, now: datetime) -> None:
    """Put the figures where `/metrics` takes them from. What is no more disappears."""
    for gauge in (*_ALL, *_OF_RELEASES):
        gauge.clear()
    for by, number in found.ended.items():
        ENDED.labels(*by).set(number)
    for (account, state), (number, oldest) in found.open.items():
        OPEN.labels(account, state).set(number)
        OPEN_AGE.labels(account, state).set(_age(oldest, now))
    for waiting, count, age in ((found.commands, COMMANDS, COMMANDS_AGE), (found.notices, NOTICES, NOTICES_AGE)):
        for account, (number, oldest) in waiting.items():
            count.labels(account).set(number)
            age.labels(account).set(_age(oldest, now))
    for (account, trouble), number in found.troubled.items():
        TROUBLED.labels(account, trouble).set(number)
    for account, number in found.overdue.items():
        OVERDUE.labels(account).set(number)
    for what, ends in found.ends.items():
        ENDS.labels(what).set(ends.timestamp())
    for (account, carrier, problem), number in found.clouds.items():
        CLOUDS.labels(account, carrier.value, problem or "none").set(number)
    HELD.set(found.is_held)
    for figures in found.deltas:
        for state in ("made", "failed", "useless"):
            DELTAS.labels(figures.package, state).set(getattr(figures, state))
        DELTA_DOWNLOADS.labels(figures.package).set(figures.downloads)
        SAVED.labels(figures.package).set(figures.saved)


def _age(since: datetime, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds())
