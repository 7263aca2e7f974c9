"""What people are notified of: look at the fleet of each account that has destinations, and say what holds now.

Conditions are found anew each time and compared with those that are known: nothing has to be written where
something happens, and a restart or a second process loses and doubles nothing.
"""

import itertools
import logging
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from backfleet import backups, fleet, hold, identity, notifications, releases, rollouts, upgrades
from backfleet.authorities import believing
from backfleet.certificates import authority_file, server_file
from backfleet.checks import named_some
from backfleet.notifications import KINDS, LASTING, Condition, Destination, Kind, Way
from backfleet.operations.backfleet.notifications import unseal_secret
from backfleet.operations.catalogue import Services
from backfleet.outbound import Destinations
from backfleet.paging import Page
from backfleet.rollouts import RolloutState
from backfleet.storage import Transaction, Unavailable
from backfleet_host.texts import counted

RECENT: Final = timedelta(days=1)  # for which an end is news
MOST: Final = 1000  # conditions of one kind in one account
PROGRAM: Final = "program"
"""The name of the destination that is the program of the server's settings."""

ENDS_SOON: Final = {"server": timedelta(days=14), "authority": timedelta(days=180)}
DUE_SOON: Final = timedelta(days=7)  # before which people are notified of clients below a minimum version
METADATA_ENDS_SOON: Final = {"root": timedelta(days=60), "targets": timedelta(days=21)}
WAITING: Final = {RolloutState.AWAITING_APPROVAL: Kind.ROLLOUT_WAITING, RolloutState.HALTED: Kind.ROLLOUT_HALTED}
OVER: Final = (RolloutState.COMPLETED, RolloutState.ROLLED_BACK, RolloutState.EXPIRED)


log = logging.getLogger(__name__)


def sender_of(services: Services) -> notifications.Sender:
    """Return who delivers notifications.

    Raises:
        ValueError, OSError: one of the settings about them cannot be used.
    """
    settings = services.settings
    means = notifications.Means(
        destinations=Destinations.read(settings.outbound_allowed),
        trust=believing(settings.outbound_authority),
        unseal=lambda sealed: unseal_secret(services, sealed),
        mail=notifications.read_mail_server(settings.smtp_url, settings.smtp_password_file, settings.smtp_sender),
        program=settings.notify_program,
    )
    return notifications.Sender(services.database, means)


def certificate_ends(data: Path) -> dict[str, datetime]:
    """Return when the certificates of the server and of its authority end; those that there are."""
    files = {"server": server_file(data), "authority": authority_file(data)}
    return {
        name: x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc
        for name, file in files.items()
        if file.exists()
    }


class Watcher:
    """Looks at everything that people are notified of."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def run_once(self, now: datetime) -> bool:
        """Look once; False: there is no more to do at once."""
        database = self._services.database
        with database.transaction() as tx:
            self._keep_program(tx, now)
            accounts = notifications.accounts(tx)
        for account_id in accounts:
            try:
                self._check(account_id, now)
            except Unavailable:
                raise
            except Exception:
                log.exception("what an account is notified of cannot be found", extra={"account_id": account_id})
        return False

    def _check(self, account_id: str, now: datetime) -> None:
        with self._services.database.transaction() as tx:
            kinds = {kind for kind in LASTING if not KINDS[kind].of_server}
            found = list(self._conditions(tx, account_id, now))
            if identity.is_administrator_account(tx, account_id):
                kinds |= {kind for kind in LASTING if KINDS[kind].of_server}
                found += self._of_server(tx, now)
            notifications.note_conditions(tx, account_id, kinds, found, now=now, draw=self._services.draw)

    def _keep_program(self, tx: Transaction, now: datetime) -> None:
        """Have a destination for the program of the settings, or none."""
        account_id, program = identity.administrator_account(tx), self._services.settings.notify_program
        if account_id is None:
            return
        known = notifications.destinations_of(tx, account_id)
        ours = [each for each in known if each.way is Way.PROGRAM]
        for each in ours:
            if each.address != program:
                notifications.delete_destination(tx, account_id, each.name)
        if program and program not in {each.address for each in ours}:
            name = _free_name({each.name for each in known if each.way is not Way.PROGRAM})
            notifications.put_destination(
                tx, Destination(account_id, name, Way.PROGRAM, program, (), "", now, "settings")
            )

    def _conditions(self, tx: Transaction, account_id: str, now: datetime) -> Iterator[Condition]:
        yield from self._of_hosts(tx, account_id, now)
        for task in upgrades.ended_badly(tx, account_id, since=now - RECENT, limit=MOST):
            text = f"{task.kind} task {task.task_id}: {counted(task.items, 'client')} failed ({task.code})"
            yield Condition(Kind.TASK_FAILED, task.task_id, text)
        region = self._services.settings.region
        for late in backups.overdue(tx, account_id, region, now=now)[:MOST]:
            text = f"client {late.client_id}: its next backup was expected by {late.expected_by:%Y-%m-%d %H:%M} UTC"
            yield Condition(Kind.BACKUP_OVERDUE, late.client_id, text)
        yield from self._of_minimums(tx, account_id, region, now)
        for record in rollouts.find_all(tx, account_id, region, [*WAITING, *OVER], Page(1, 200)).items:
            named = f"rollout {record.name} ({record.id})"
            kind, to = WAITING.get(record.state), () if record.unreadable else record.document.notify.to
            if kind is not None:
                yield Condition(kind, record.id, f"{named} is {record.state}: {record.reason or 'see its rings'}", to)
            elif record.ended_at is not None and record.ended_at > now - RECENT:
                yield Condition(Kind.ROLLOUT_ENDED, record.id, f"{named} is {record.state}", to)

    def _of_hosts(self, tx: Transaction, account_id: str, now: datetime) -> Iterator[Condition]:
        settings = self._services.settings
        heard_since = now - timedelta(seconds=settings.lost_seconds)
        for host in fleet.lost(tx, account_id, heard_since=heard_since, limit=MOST):
            text = f"host {host.name} ({host.id}) was last heard of at {host.at:%Y-%m-%d %H:%M} UTC"
            yield Condition(Kind.HOST_LOST, host.id, text)
        since = now - timedelta(seconds=settings.fit_seconds)
        for host in fleet.deaf(tx, account_id, since=since, limit=MOST):
            text = f"host {host.name} ({host.id}) sends heartbeats, but its agent has no connection"
            yield Condition(Kind.HOST_DEAF, host.id, text)
        for instance_id in fleet.cloned(tx, account_id, now=now)[:MOST]:
            text = f"several hosts say that they are {instance_id}: run `backfleet-host enrol --new-identity` on copies"
            yield Condition(Kind.HOST_CLONED, instance_id, text)
        for client in fleet.changed(tx, account_id, limit=MOST):
            text = f"{client.name} was changed on its host: {client.what[:200]}"
            yield Condition(Kind.CLIENT_CHANGED, client.id, text)

    def _of_minimums(self, tx: Transaction, account_id: str, region: str, now: datetime) -> Iterator[Condition]:
        """Find clients below a minimum version: when it is soon due, and anew once it is."""
        minimums = fleet.minimums_of(tx, account_id, region)
        for each, _, below in fleet.below_minimums(tx, account_id, region, minimums, releases.schemes_of):
            if below and each.due_at - now <= DUE_SOON:
                subject = f"{each.package} overdue" if each.is_due(now) else each.package
                are = f"client of {each.package} is" if below == 1 else f"clients of {each.package} are"
                text = f"{below} {are} below {each.version}, due {each.due_at:%Y-%m-%d %H:%M} UTC"
                yield Condition(Kind.BELOW_MINIMUM, subject, f"{text}: {each.reason}")

    def _of_server(self, tx: Transaction, now: datetime) -> Iterator[Condition]:
        for name, ends in certificate_ends(self._services.settings.data).items():
            if ends < now + ENDS_SOON[name]:
                yield Condition(Kind.CERTIFICATE_ENDING, name, f"the {name}'s certificate ends on {ends:%Y-%m-%d}")
        for role, ends in releases.endings(tx).items():
            if ends < now + METADATA_ENDS_SOON[role]:
                text = f"the signed {role} of releases ends on {ends:%Y-%m-%d}: sign it anew"
                yield Condition(Kind.ROOT_ENDING, role, text)
        waiting = releases.unsigned(tx)
        if waiting or releases.needs_signature(tx):
            text = f"{named_some(waiting) or 'the restored targets'} wait for a signature: `backfleet release pending`"
            yield Condition(Kind.SIGNATURE_PENDING, "targets", text)
        restore = hold.state(tx)
        if restore is not None and restore.is_held:
            text = (
                f"the server was restored on {restore.restored_at:%Y-%m-%d %H:%M} UTC from a backup of "
                f"{restore.copied_at:%Y-%m-%d %H:%M} UTC, and is held: `backfleet server show`"
            )
            yield Condition(Kind.SERVER_RESTORED, f"{restore.restored_at.timestamp():.0f}", text)


def _free_name(taken: Collection[str]) -> str:
    """Return the name of the program's destination: another one where people have given that one to theirs."""
    names = itertools.chain([PROGRAM], (f"{PROGRAM}-{number}" for number in itertools.count(2)))
    return next(name for name in names if name not in taken)
