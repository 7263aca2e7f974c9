"""From what a call names to what a task will do: pure, but for the releases it is handed."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from backfleet import fleet, releases
from backfleet.fleet import Client, Fitness, Instance, Resolved
from backfleet.operations.hbr.naming import Named
from backfleet.releases import Release
from backfleet.upgrades import Target

REFUSALS = {
    "NoRelease": "no release is offered for {package} on {platform} in channel {channel}; add one",
    "NotAllowedFrom": "no release of {package} may be reached from {current}; add the stepping stone it asks for",
}

Aim = Callable[[Instance, Client], Target]
"""What is to be done with one client on a fit instance whose agent takes orders."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Which of the named instances are fit, in request order."""

    fitness: dict[str, Fitness]

    @property
    def lines(self) -> list[dict[str, object]]:
        """InstanceStatuses: one line per requested instance, fit or not."""
        return [
            {"InstanceId": instance_id, "ValidInstance": fit is Fitness.FIT, "ErrorCode": fit.value}
            for instance_id, fit in self.fitness.items()
        ]

    @property
    def fit(self) -> list[str]:
        """The fit ones."""
        return [instance_id for instance_id, fit in self.fitness.items() if fit is Fitness.FIT]


def judge(instance_ids: Iterable[str], found: Resolved, *, now: datetime, fit_within: timedelta) -> Judged:
    """Every named instance with its fitness."""
    return Judged(
        {
            instance_id: fleet.fitness(found.instances.get(instance_id), now=now, fit_within=fit_within)
            for instance_id in instance_ids
        }
    )


def targets_of(
    named: Named, found: Resolved, judged: Judged, aim: Aim, *, now: datetime, fit_within: timedelta
) -> list[Target]:
    """One target per client, in request order; a client beside its own instance is one target."""
    chosen: dict[str, Target] = {}
    for name in named.ids:
        if name in judged.fitness:
            if judged.fitness[name] is Fitness.FIT:
                chosen |= _on_instance(found.instances[name], found.clients_on[name], aim)
        elif name not in chosen:
            chosen[name] = _client(name, found, aim, now=now, fit_within=fit_within)
    return list(chosen.values())


def _on_instance(instance: Instance, clients: list[Client], aim: Aim) -> dict[str, Target]:
    installed = [client for client in clients if client.is_installed]
    if not installed:
        missing = ("ClientNotInstalled", "no backup client is installed on this instance; install one first")
        return {instance.id: Target(instance.id, settled=missing)}
    return {client.id: _aimed(instance, client, aim) for client in installed}


def _client(client_id: str, found: Resolved, aim: Aim, *, now: datetime, fit_within: timedelta) -> Target:
    client = found.clients.get(client_id)
    if client is None:
        return Target("", client_id, settled=("ClientNotExists", "there is no such client in this account and region"))
    instance = found.instances[client.instance_id]
    fit = fleet.fitness(instance, now=now, fit_within=fit_within)
    if fit is not Fitness.FIT:
        return refused(instance, client, "HostUnreachable", f"its instance cannot be given work now: {fit.value}")
    if not client.is_installed:
        return refused(instance, client, "ClientNotInstalled", "it is not installed any more; install it first")
    return _aimed(instance, client, aim)


def _aimed(instance: Instance, client: Client, aim: Aim) -> Target:
    return agent_refusal(instance, client) or aim(instance, client)


def agent_refusal(instance: Instance, client: Client) -> Target | None:
    """A settled target where the host's agent cannot carry an order yet."""
    if instance.agent_kind == "backfleet":
        return None
    text = "the agent on this host does not take upgrade orders yet; enrol it with backfleet-host"
    return refused(instance, client, "UnsupportedPlatform", text)


def refused(instance: Instance, client: Client, code: str, message: str) -> Target:
    """A target that ends at once, badly."""
    return Target(
        instance.id,
        client.id,
        client.package,
        instance.platform,
        from_version=client.version,
        settled=(code, message),
    )


def newest_for(offered: Mapping[tuple[str, str, str], list[Release]]) -> Aim:
    """Move a client to the newest release of its package, platform and channel; each question is answered once."""
    picks: dict[tuple[str, ...], releases.Pick] = {}

    def aim(instance: Instance, client: Client) -> Target:
        asked = (client.package, instance.platform, client.channel)
        question = (*asked, client.version, client.pin)
        if question not in picks:
            picks[question] = releases.pick(offered.get(asked, []), current=client.version, pin=client.pin)
        return _from_pick(instance, client, picks[question])

    return aim


def _from_pick(instance: Instance, client: Client, picked: releases.Pick) -> Target:
    facts = {"package": client.package, "platform": instance.platform or "this platform", "channel": client.channel}
    if picked.refusal:
        text = REFUSALS[picked.refusal].format(**facts, current=client.version)
        return refused(instance, client, picked.refusal, text)
    target = Target(instance.id, client.id, client.package, instance.platform, from_version=client.version)
    if picked.already_current or picked.target is None:
        return _replaced(target, client.version, settled=("AlreadyCurrent", f"it runs {client.version} already"))
    return _replaced(target, picked.target.version, settled=None)


def _replaced(target: Target, to_version: str, *, settled: tuple[str, str] | None) -> Target:
    return Target(
        target.instance_id,
        target.client_id,
        target.package,
        target.platform,
        target.from_version,
        to_version,
        settled,
        succeeds=settled is not None,
    )
