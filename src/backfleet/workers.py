"""The workers of the control plane: what runs without being asked. Part of the composition root, see app.py."""

import functools
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from backfleet import (
    assistant,
    backups,
    carriers,
    commands,
    hold,
    host_program,
    notifications,
    operations,
    releases,
    rollouts,
    upgrades,
)
from backfleet.carriers import ecs, ssh
from backfleet.certificates import authority_file
from backfleet.clock import Clock
from backfleet.fleet import CarrierKind
from backfleet.ids import Draw
from backfleet.opening import CannotStart
from backfleet.operations.backfleet.server import agent_address
from backfleet.operations.catalogue import Services
from backfleet.outbound import Destinations, read_secret
from backfleet.pubsub import LONGEST_WAIT
from backfleet.settings import Settings
from backfleet.storage import Database
from backfleet.values import value_object

SCHEDULES = timedelta(seconds=1)  # between two polls for commands whose time has come
VISITS = timedelta(seconds=1)  # between two looks for hosts that the server goes to
LEASES = timedelta(seconds=5)  # between two polls for leases that ran out
ROUNDS = timedelta(seconds=1)  # between two looks whether such a poll is noted
OUTSIDE_CHECKS = timedelta(seconds=5)  # between two looks for checks of rollouts that are to be asked
DELTAS = timedelta(seconds=30)  # between two looks for deltas that are to be made
MEASURING = timedelta(seconds=30)  # between two rounds of figures for monitoring
LOOKING = timedelta(seconds=15)  # between two looks for what people are notified of
DELIVERIES = timedelta(seconds=5)  # between two looks into the outbox of notifications
HOUSEKEEPING = timedelta(minutes=10)  # between two rounds of deleting what is over


@value_object
class Worker:
    """One loop of this process: what it runs, the topic that ends its wait, the longest wait, and further topics.

    Where some topics are urgent, what comes on the others may wait longer for more of it.
    """

    topic: str
    run_once: Callable[[], bool]
    interval: timedelta | Callable[[], timedelta] = LONGEST_WAIT
    further: tuple[str, ...] = ()
    urgent: tuple[str, ...] = ()

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic that ends its wait."""
        return self.topic, *self.further, *self.urgent


class Rounds:
    """Notes that somebody looks at what is out of time, for a worker that runs several times a second."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings
        self._noted_at: datetime | None = None

    def note(self, now: datetime) -> None:
        """Note it unless that was done within a second; see `note_round`. A clock that was set is always seen."""
        if self._noted_at is None or not timedelta() <= now - self._noted_at < ROUNDS:
            note_round(self._database, self._settings, now)
            self._noted_at = now


def workers(services: Services, clock: Clock) -> list[Worker]:
    """Return every worker of the control plane.

    After a restore those that move hosts do nothing until an operator has looked; hosts are asked all the same.
    """
    return [*_moving_workers(services, clock), *_other_workers(services, clock)]


def _moving_workers(services: Services, clock: Clock) -> list[Worker]:
    settings, database, draw, watch = services.settings, services.database, services.draw, services.hold
    reachable_within = timedelta(seconds=settings.fit_seconds)
    carrier = carriers_of(settings)
    rollout_worker = rollouts.Worker(database, settings, draw, operations.RolloutJudge, operations.witness(services))
    asker, rounds = asker_of(database, settings, draw), Rounds(database, settings)
    progress = upgrades.ProgressPace()
    moving = [
        Worker(
            upgrades.TOPIC,
            lambda: _move_tasks(services, carrier, rounds, progress, clock()),
            lambda: upgrades.PROGRESS_APART if progress.is_left else LONGEST_WAIT,
            urgent=(upgrades.NEW_TASKS,),
        ),
        Worker(
            assistant.TOPIC,
            lambda: assistant.run_once(database, now=clock(), draw=draw, reachable_within=reachable_within),
            SCHEDULES,
        ),
        Worker(rollouts.TOPIC, lambda: rollout_worker.run_once(clock()), further=(backups.TOPIC,)),
        Worker("outside checks", lambda: asker.run_once(clock()), OUTSIDE_CHECKS),
    ]
    return [replace(worker, run_once=functools.partial(_unless_held, watch, worker.run_once)) for worker in moving]


def _unless_held(watch: hold.Watch | None, run_once: Callable[[], bool]) -> bool:
    return not (watch is not None and watch.is_held()) and run_once()


def _other_workers(services: Services, clock: Clock) -> list[Worker]:
    settings, database = services.settings, services.database
    carrier = carriers_of(settings)
    housekeeping, measuring = operations.Housekeeping(services, clock()), operations.Measuring(services)
    return [
        Worker(
            upgrades.CHECKUPS,
            lambda: upgrades.run_checkups_once(
                database,
                now=clock(),
                draw=services.draw,
                every=timedelta(seconds=settings.checkup_seconds),
                reachable_within=timedelta(seconds=settings.fit_seconds),
                carrier=carrier,
            ),
        ),
        _ssh_visits(services, clock),
        _ecs_rounds(services, clock),
        Worker("commands", lambda: _act_on_leases(database, settings, clock()), LEASES),
        *_notifying(services, clock),
        Worker("releases", lambda: releases.run_once(database, services.repository, now=clock())),
        Worker("deltas", lambda: _make_deltas(services, clock()), DELTAS),
        *_sharing(services),
        Worker("measuring", lambda: measuring.run_once(clock()), MEASURING),
        Worker("housekeeping", lambda: housekeeping.run_once(clock()), HOUSEKEEPING),
    ]


def _make_deltas(services: Services, now: datetime) -> bool:
    return releases.make_deltas_once(
        services.database, services.repository, now=now, megabytes=services.settings.delta_megabytes
    )


def _sharing(services: Services) -> list[Worker]:
    """Return the worker that gives artifacts to the object store, if there is one."""
    repository, database = services.repository, services.database
    if repository.stored is None:
        return []
    return [Worker("object store", lambda: releases.upload_missing(database, repository), HOUSEKEEPING)]


def _move_tasks(
    services: Services, carrier: carriers.Carrier, rounds: Rounds, progress: upgrades.ProgressPace, now: datetime
) -> bool:
    rounds.note(now)  # before anything is out of time
    rules = rules_of(services.settings)
    return upgrades.run_once(
        services.database, now=now, draw=services.draw, carrier=carrier, rules=rules, progress=progress
    )


def _act_on_leases(database: Database, settings: Settings, now: datetime) -> bool:
    note_round(database, settings, now)
    return commands.run_once(database, now=now)


def note_round(database: Database, settings: Settings, now: datetime) -> bool:
    """Note that somebody looks; leases and tasks begin anew if nobody did for long, or the clock was set."""
    handed, lease = timedelta(seconds=settings.handed_seconds), timedelta(seconds=settings.lease_seconds)
    anew = functools.partial(upgrades.begin_anew, time=timedelta(seconds=settings.task_seconds), now=now)
    return commands.note_round(database, handed=handed, lease=lease, now=now, also=anew)


def _ssh_visits(services: Services, clock: Clock) -> Worker:
    """Return the worker that goes to hosts without an agent."""
    settings, database = services.settings, services.database
    try:
        allowed = operations.ssh_destinations(settings)
    except ValueError as problem:
        raise CannotStart(f"ssh_allowed: {problem}") from None
    handed, lease = timedelta(seconds=settings.handed_seconds), timedelta(seconds=settings.lease_seconds)
    open_key = functools.partial(operations.open_ssh_key, services)
    make = functools.partial(ssh.make_visitor, database, clock, allowed, open_key, handed=handed, lease=lease)
    worker = ssh.Worker(database, make, clock, every=timedelta(seconds=settings.fit_seconds) / 3)
    return Worker(ssh.TOPIC, lambda: worker.run_once(clock()), lambda: VISITS if worker.has_any else LONGEST_WAIT)


def _ecs_rounds(services: Services, clock: Clock) -> Worker:
    """Return the worker that asks clouds."""
    settings, database = services.settings, services.database
    try:
        clouds = operations.cloud_clients(services)
    except ValueError as problem:
        raise CannotStart(f"ecs_allowed or ssm_allowed: {problem}") from None
    every, lease = timedelta(seconds=settings.fit_seconds) / 3, timedelta(seconds=settings.lease_seconds)
    make = functools.partial(
        ecs.make_means, database, clock, clouds, services.draw, region=settings.region, every=every, lease=lease
    )
    worker = ecs.Worker(database, make)
    return Worker(ecs.TOPIC, lambda: worker.run_once(clock()), lambda: VISITS if worker.has_any else LONGEST_WAIT)


def rules_of(settings: Settings) -> upgrades.Rules:
    """Return what the settings and the operations say about orders."""
    return upgrades.Rules(
        settings.host_bytes_per_second,
        timedelta(seconds=settings.fit_seconds),
        timedelta(seconds=settings.task_seconds),
        operations.still_may(settings.region),
    )


def _notifying(services: Services, clock: Clock) -> list[Worker]:
    try:
        watcher, sender = operations.Watcher(services), operations.sender_of(services)
    except (OSError, ValueError) as problem:
        raise CannotStart(f"outbound_allowed, smtp_url, smtp_password_file or smtp_sender: {problem}") from None
    return [
        Worker("what people are notified of", lambda: watcher.run_once(clock()), LOOKING),
        Worker(notifications.TOPIC, lambda: sender.run_once(clock()), DELIVERIES),
    ]


def asker_of(database: Database, settings: Settings, draw: Draw) -> rollouts.Asker:
    """Return who asks the outside checks of rollouts.

    Raises:
        CannotStart: one of the settings about them cannot be used.
    """
    try:
        destinations = Destinations.read(settings.outbound_allowed, settings.prometheus_url)
        file = settings.webhook_secret_file
        key = read_secret(Path(file).read_text()) if file else b""
        return rollouts.Asker(database, destinations, key, draw, authority=settings.outbound_authority)
    except (OSError, ValueError) as problem:
        raise CannotStart(f"outbound_allowed, outbound_authority or webhook_secret_file: {problem}") from None


def carriers_of(settings: Settings) -> carriers.Carriers:
    """Return every carrier of this installation."""
    bootstrap = bootstrap_of(settings)
    return carriers.Carriers(
        {
            CarrierKind.ASSIST: carriers.Gateway(bootstrap),
            CarrierKind.SSH: ssh.Ssh(bootstrap),
            CarrierKind.ECS: ecs.Ecs(bootstrap, releases.newest_root),
            CarrierKind.SSM: ecs.Ecs(bootstrap, releases.newest_root),
        }
    )


def bootstrap_of(settings: Settings) -> carriers.Bootstrap:
    """Return what an order for a host with another agent needs to know about this server."""
    authority = authority_file(settings.data)
    return carriers.Bootstrap(
        address=agent_address(settings),
        authority=authority.read_text() if authority.exists() else "",
        program_sha256=host_program.sha256(),
    )
