"""From the ids of a call to the targets of a task: which clients are meant, and which instances are reachable."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from backfleet import fleet, upgrades
from backfleet.fleet import Hold, Instance, Place, Reachability, Resolved
from backfleet.operations.hbr.answers import seconds
from backfleet.operations.hbr.errors import BY_REACHABILITY, REACHABILITY_TEXTS, ClientNotFound
from backfleet.operations.hbr.identifiers import NamedIds, is_client
from backfleet.storage import Transaction
from backfleet.upgrades import Item, Planner, TaskTarget
from backfleet.values import value_object

AWAY: Final = (Reachability.NOT_RUNNING, Reachability.AGENT_NOT_RUNNING)
LEAST_TIME: Final = timedelta(seconds=60)  # that a task must have left when a host gets its order
WAITS_FOR_DIAL: Final = (
    "its agent sends heartbeats but has no connection; it connects again by itself at {:%Y-%m-%dT%H:%M:%SZ}, and the "
    "order waits for that"
)


@value_object
class Selection:
    """What the ids of a call name."""

    named: NamedIds
    found: Resolved
    reachability: Mapping[str, Reachability]  # of every named instance, and of those that named clients are on
    dials: Mapping[str, datetime]  # of those that cannot be given work until then, when their agents connect again

    @property
    def lines(self) -> list[dict[str, object]]:
        """InstanceStatuses: one line per named instance, reachable or not, in request order."""
        return [
            {
                "InstanceId": instance_id,
                "ValidInstance": self._is_reachable(instance_id),
                "ErrorCode": self.reachability[instance_id].value,
                **({"ConnectsTime": seconds(self.dials[instance_id])} if instance_id in self.dials else {}),
            }
            for instance_id in self.named.instances
        ]

    @property
    def reachable(self) -> list[Instance]:
        """The named instances that can be given work, in request order."""
        return [self.found.instances[each] for each in self.named.instances if self._is_reachable(each)]

    def holds(self, tx: Transaction, now: datetime) -> dict[Place, Hold]:
        """Return what pins hold of all clients on the instances that are named, or that named clients are on."""
        on = [client for clients in self.found.clients_on.values() for client in clients]
        places = {(client.instance_id, client.package): client.id for client in on}
        return fleet.holds_of(tx, on[0].account_id, on[0].region, places, now=now) if on else {}

    def instance_id_of(self, named: str) -> str:
        """Return the instance that a named id lies on; for an unknown client, its own id."""
        client = self.found.clients.get(named)
        return named if client is None else client.instance_id

    def refuse_if_alone(self) -> None:
        """Refuse the call where all of it is about one instance or unknown client, and that cannot be given work.

        Where it is about several, each of them gets a line or an item that says so instead.

        Raises:
            UnreachableInstance: it is an instance that cannot be given work.
            ClientNotFound: it is a client that does not exist.
        """
        places = {self.instance_id_of(named) for named in self.named.ids}
        if len(places) > 1:
            return
        (place,) = places
        if place not in self.reachability:
            raise ClientNotFound(place)
        if not self._is_reachable(place):
            raise BY_REACHABILITY[self.reachability[place]](place)

    def with_unfit(self, targets: Sequence[TaskTarget]) -> list[TaskTarget]:
        """Return targets with one more for each named instance that cannot be given work, in request order.

        It is refused with its validity code, so that the task's progress cannot hide it. An instance that a target is
        about already, as its client is named too, gets no second one.
        """
        about = {target.instance_id for target in targets}
        unfit = [
            TaskTarget(named, resolved=(code.value, REACHABILITY_TEXTS[code].format(id=named)))
            for named in self.named.instances
            if not self._is_reachable(named) and named not in about
            for code in [self.reachability[named]]
        ]
        if not unfit and not self.named.clients:
            return list(targets)  # in request order already
        position = {named: number for number, named in enumerate(self.named.ids)}
        last = len(position)
        return sorted(
            [*targets, *unfit],
            key=lambda target: min(position.get(target.client_id, last), position.get(target.instance_id, last)),
        )

    def with_dials(self, targets: Sequence[TaskTarget]) -> list[TaskTarget]:
        """Return targets of which those that wait for an agent to connect say so."""
        if not self.dials:
            return list(targets)
        return [
            replace(target, note=WAITS_FOR_DIAL.format(self.dials[target.instance_id]))
            if target.instance_id in self.dials and target.resolved is None
            else target
            for target in targets
        ]

    def targets(self, planner: Planner) -> list[TaskTarget]:
        """Return one target per client, in request order. A client that is named beside its instance is one target."""
        chosen: dict[str, TaskTarget] = {}
        for named in self.named.ids:
            if is_client(named):
                chosen.setdefault(named, self._target_of_client(named, planner))
            elif self._is_reachable(named):
                on_it = self.found.clients_on[named]
                for target in upgrades.plan_for_instance(self.found.instances[named], on_it, planner):
                    chosen.setdefault(target.client_id or named, target)
        return list(chosen.values())

    def _target_of_client(self, client_id: str, planner: Planner) -> TaskTarget:
        client = self.found.clients.get(client_id)
        if client is None:
            return upgrades.unknown_client(client_id)
        instance = self.found.instances[client.instance_id]
        return upgrades.plan_for_client(instance, client, self.reachability[instance.id], planner)

    def _is_reachable(self, instance_id: str) -> bool:
        return self.reachability[instance_id] is Reachability.REACHABLE


def is_unfit(item: Item) -> bool:
    """Return whether an item stands for a named instance that could not be given work when its task began."""
    return not item.client_id and any(item.code == code.value for code in BY_REACHABILITY)


def select(
    named: NamedIds,
    found: Resolved,
    *,
    now: datetime,
    reachable_within: timedelta,
    task_time: timedelta,
    waits: bool = False,
) -> Selection:
    """Return what ids name, with the reachability of every instance that the call is about.

    An instance whose agent cannot be told of work now, and will connect by itself while the task has time, counts as
    reachable.

    Args:
        found: what the ids were resolved to.
        reachable_within: how lately an agent must have used its socket or asked for its tasks.
        task_time: how long the task may take.
        waits: the task waits for hosts that are away: only those that do not exist count as unreachable.
    """
    about = dict.fromkeys([*named.instances, *(client.instance_id for client in found.clients.values())])
    reachability = {
        instance_id: fleet.reachability(found.instances.get(instance_id), now=now, reachable_within=reachable_within)
        for instance_id in about
    }
    if waits:
        away = [named for named, found_reachable in reachability.items() if found_reachable in AWAY]
        return Selection(named, found, reachability | dict.fromkeys(away, Reachability.REACHABLE), {})
    dials = {}
    for instance_id, found_reachable in reachability.items():
        if found_reachable is Reachability.AGENT_NOT_RUNNING:
            dial = fleet.next_dial(found.instances[instance_id], now=now, reachable_within=reachable_within)
            if dial is not None and dial <= now + task_time - LEAST_TIME:
                dials[instance_id] = dial
    return Selection(named, found, reachability | dict.fromkeys(dials, Reachability.REACHABLE), dials)
