"""From what a call names to what a task will do: pure, but for the releases it is handed."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from backfleet import fleet, releases
from backfleet.fleet import AgentKind, Client, ClientStatus, Instance, Reachability, Resolved
from backfleet.operations.hbr.errors import BY_FITNESS, ClientNotFound
from backfleet.operations.hbr.identifiers import Named, is_client
from backfleet.releases import Release
from backfleet.upgrades import TaskTarget

REFUSALS: Final = {
    "NoRelease": "no release of {package} is offered for {platform} on channel {channel}{pin}; add one",
    "NotAllowedFrom": "no release of {package} may be reached from {current}; add the stepping stone it asks for",
}

Aim = Callable[[Instance, Client], TaskTarget]
"""What is to be done with one client on a fit instance."""

Offered = Mapping[tuple[str, str, str], list[Release]]
"""Releases by package, platform and channel."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a call does to clients: which of an instance's are meant by the instance's id, and what is done with one."""

    meant: Callable[[Client], bool]
    aim: Aim


@dataclass(frozen=True, slots=True)
class Survey:
    """What a call names, and whether it can be given work."""

    named: Named
    found: Resolved
    fitness: Mapping[str, Reachability]  # of every named instance, and of those that named clients are on

    @property
    def lines(self) -> list[dict[str, object]]:
        """InstanceStatuses: one line per requested instance, fit or not, in request order."""
        told = [(instance_id, self.fitness[instance_id]) for instance_id in self.named.instances]
        return [
            {"InstanceId": instance_id, "ValidInstance": fit is Reachability.REACHABLE, "ErrorCode": fit.value}
            for instance_id, fit in told
        ]

    @property
    def fit(self) -> list[str]:
        """The requested instances that can be given work."""
        return [
            instance_id for instance_id in self.named.instances if self.fitness[instance_id] is Reachability.REACHABLE
        ]

    def place_of(self, name: str) -> str:
        """The instance that an id lies on; of a client nobody knows, the id itself."""
        client = self.found.clients.get(name)
        return name if client is None else client.instance_id

    def refuse_if_alone(self) -> None:
        """Where everything that is asked lies in one place, what is wrong with that place is the call's own error.

        Raises:
            UnfitInstance: it is an instance that cannot be given work.
            ClientNotFound: it is a client that does not exist.
        """
        places = {self.place_of(name) for name in self.named.ids}
        if len(places) > 1:
            return
        (place,) = places
        if place not in self.fitness:
            raise ClientNotFound(place)
        if self.fitness[place] is not Reachability.REACHABLE:
            raise BY_FITNESS[self.fitness[place]](place)


def survey(named: Named, found: Resolved, *, now: datetime, fit_within: timedelta) -> Survey:
    """Every instance that the call touches, with its fitness."""
    touched = dict.fromkeys([*named.instances, *(client.instance_id for client in found.clients.values())])
    fitness = {
        instance_id: fleet.reachability(found.instances.get(instance_id), now=now, reachable_within=fit_within)
        for instance_id in touched
    }
    return Survey(named, found, fitness)


def targets_of(surveyed: Survey, plan: Plan) -> list[TaskTarget]:
    """One target per client, in request order; a client beside its own instance is one target."""
    chosen: dict[str, TaskTarget] = {}
    for name in surveyed.named.ids:
        if is_client(name):
            chosen.setdefault(name, _client(name, surveyed, plan))
        elif surveyed.fitness[name] is Reachability.REACHABLE:
            for key, target in _on_instance(name, surveyed.found, plan):
                chosen.setdefault(key, target)
    return list(chosen.values())


def _on_instance(instance_id: str, found: Resolved, plan: Plan) -> list[tuple[str, TaskTarget]]:
    meant = [client for client in found.clients_on[instance_id] if plan.meant(client)]
    if not meant:
        missing = ("ClientNotInstalled", "no backup client is installed on this instance; install one first")
        return [(instance_id, TaskTarget(instance_id, settled=missing))]
    instance = found.instances[instance_id]
    return [(client.id, plan.aim(instance, client)) for client in meant]


def _client(client_id: str, surveyed: Survey, plan: Plan) -> TaskTarget:
    client = surveyed.found.clients.get(client_id)
    if client is None:
        return TaskTarget(
            "", client_id, settled=("ClientNotExists", "there is no such client in this account and region")
        )
    instance = surveyed.found.instances[client.instance_id]
    fit = surveyed.fitness[instance.id]
    if fit is not Reachability.REACHABLE:
        return settled(instance, client, "HostUnreachable", f"its instance cannot be given work now: {fit.value}")
    return plan.aim(instance, client)


# --- Upgrading ------------------------------------------------------------------------------------------------------


def upgrading(offered: Offered) -> Plan:
    """Move what is installed to its newest release. One that is being installed is meant too: its task is told."""
    newest = newest_of(offered)

    def meant(client: Client) -> bool:
        return client.is_installed or client.status is ClientStatus.INSTALLING

    def aim(instance: Instance, client: Client) -> TaskTarget:
        if not client.is_installed:
            return settled(instance, client, "ClientNotInstalled", "it is not installed; install it first")
        return agent_refusal(instance, client) or newest(instance, client)

    return Plan(meant, aim)


def newest_of(offered: Offered) -> Aim:
    """Aim at the newest release of a client's package, platform and channel. Each question is answered once."""
    picks: dict[tuple[str, ...], releases.Pick] = {}

    def aim(instance: Instance, client: Client) -> TaskTarget:
        asked = (client.package, instance.platform, client.channel)
        question = (*asked, client.version, client.pin)
        if question not in picks:
            picks[question] = releases.pick(offered.get(asked, []), current=client.version, pin=client.pin)
        standing = {release.version for release in offered.get(asked, []) if release.withdrawn_at is None}
        return _from_pick(instance, client, picks[question], standing)

    return aim


def _from_pick(instance: Instance, client: Client, picked: releases.Pick, offered: Collection[str]) -> TaskTarget:
    if picked.refusal:
        pin = f" within its pin {client.pin}" if client.pin else ""
        facts = {"package": client.package, "channel": client.channel, "current": client.version, "pin": pin}
        text = REFUSALS[picked.refusal].format(
            **facts, platform=instance.platform or "its platform, which is not known"
        )
        return settled(instance, client, picked.refusal, text)
    if client.drift and picked.already_current and client.version in offered:
        return replace(_target(instance, client), to_version=client.version)  # its host mends it
    if picked.already_current or picked.target is None:
        return nothing_to_do(instance, client, f"{client.version} runs already, and nothing newer is offered to it")
    return replace(_target(instance, client), to_version=picked.target.version)


# --- Uninstalling ---------------------------------------------------------------------------------------------------


def uninstalling() -> Plan:
    """Take clients off their hosts. What is gone already is as it was asked to be."""

    def aim(instance: Instance, client: Client) -> TaskTarget:
        if not client.is_installed and client.status is ClientStatus.NOT_INSTALLED:
            return nothing_to_do(instance, client, "it is not installed")
        return agent_refusal(instance, client) or _target(instance, client)

    return Plan(lambda client: True, aim)


# --- What they share ------------------------------------------------------------------------------------------------


def agent_refusal(instance: Instance, client: Client) -> TaskTarget | None:
    """A settled target where the host's agent cannot carry an order."""
    return None if takes_orders(instance) else settled(instance, client, *NO_WAY)


def takes_orders(instance: Instance) -> bool:
    """Our own agent takes them as they are; to any other one on Linux a shell command brings our host program."""
    return instance.agent_kind is AgentKind.BACKFLEET or instance.platform.startswith("linux-")


NO_WAY: Final = (
    "UnsupportedPlatform",
    "there is no host program for this host's platform; upgrades work on Linux",
)


def settled(instance: Instance, client: Client, code: str, message: str) -> TaskTarget:
    """A target that ends at once, badly."""
    return replace(_target(instance, client), settled=(code, message))


def nothing_to_do(instance: Instance, client: Client, message: str) -> TaskTarget:
    """A target that ends at once, well."""
    told = ("AlreadyCurrent", message)
    return replace(_target(instance, client), to_version=client.version, settled=told, succeeded=True)


def _target(instance: Instance, client: Client) -> TaskTarget:
    return TaskTarget(instance.id, client.id, client.package, instance.platform, from_version=client.version)
