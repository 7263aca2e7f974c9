"""Store the runs that a host reports."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from prometheus_client import Counter

from backfleet import fleet
from backfleet.backups import _store
from backfleet.backups.intervals import LEARNS_FROM, learned
from backfleet.backups.model import FAILED, KEPT, MOST_RUNS, TOPIC, ClientRun, ReportedRun
from backfleet.storage import Transaction

OTHER: Final = "other"
ENDED: Final = Counter(
    "backfleet_backups_total",
    "Backups that ended, by the client's version (`other`: one that it has no more) and result.",
    ["account", "package", "version", "result"],
)


def note_runs(tx: Transaction, instance_id: str, reported: Sequence[ReportedRun], *, now: datetime) -> int:
    """Store runs of clients on an instance, each once, however often it is reported. Those of no known client are not.

    A backup that failed is published once: who judges a version by its backups may want to stop at once. Good news wait
    until somebody looks.

    Returns:
        How many are new.
    """
    clients = {client.package: client for client in fleet.clients_on(tx, instance_id)}
    new, newest = 0, {}
    for each in reported:
        client = clients.get(each.package)
        if client is None:
            continue
        run = ClientRun(
            id=each.id,
            client_id=client.id,
            instance_id=instance_id,
            account_id=client.account_id,
            region=client.region,
            package=each.package,
            version=each.version,
            begun_at=each.begun_at,
            ended_at=each.ended_at,
            result=each.result,
            code=each.code,
            user=each.user,
            caller=each.caller,
            is_backup=each.is_backup,
        )
        is_new, is_ended = _store.put(tx, run)
        if is_ended and run.is_backup:
            known = run.version if run.version == client.version else OTHER  # a host may name any: no figure for each
            ENDED.labels(client.account_id, run.package, known, run.result).inc()
            if run.result == FAILED:
                tx.publish(TOPIC)
        if is_new:
            new += 1
            newest[client.id] = run
    for run in newest.values():
        _learn(tx, run)
        _store.trim(tx, run.client_id, MOST_RUNS, now - KEPT)
    return new


def _learn(tx: Transaction, run: ClientRun) -> None:
    starts = _store.last_starts(tx, run.client_id, LEARNS_FROM)
    found = learned(starts)
    if found is not None:
        _store.put_interval(tx, run, max(starts), *found)
