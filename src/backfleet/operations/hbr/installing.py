"""What InstallBackupClients installs where: the API carries no package, so it is found out here.

Why: docs/decisions/0001-which-package.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from backfleet import fleet, releases
from backfleet.fleet import Client, ClientStatus, Instance
from backfleet.operations.catalogue import Call
from backfleet.operations.hbr.selection import NO_WAY, Survey, newest_of, takes_orders
from backfleet.releases import STABLE
from backfleet.storage import Transaction
from backfleet.upgrades import TaskTarget
from backfleet.wire.errors import InvalidParameter


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller asked for; None is left to the server."""

    package: str | None
    channel: str | None
    tries_again: bool = False  # also a version that a host has taken back


LEFT_TO_US: Final = Wish(None, None)


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be installed on one instance: a package from a channel, over the client that is there if any."""

    instance: Instance
    package: str  # "" where none is offered
    channel: str
    there: Client | None


def targets_to_install(tx: Transaction, call: Call, surveyed: Survey, wish: Wish) -> list[TaskTarget]:
    """One target per fit instance, in request order. A client is only made where there is something to install.

    Raises:
        InvalidParameter: it is not clear which package is meant; the text says which there are.
    """
    instances = [surveyed.found.instances[instance_id] for instance_id in surveyed.fit]
    able = [instance for instance in instances if takes_orders(instance)]
    choices = _choose(tx, call, able, surveyed.found.clients_on, wish)
    offered: dict[tuple[str, str, str], list[releases.Release]] = {}
    for choice in choices:
        key = (choice.package, choice.instance.platform, choice.channel)
        if key not in offered:
            offered[key] = releases.offered(tx, *key)
    # In the order of their ids, so that two calls that name the same instances cannot wait for each other.
    made = {
        choice.instance.id: _target(tx, call, choice, offered[choice.package, choice.instance.platform, choice.channel])
        for choice in sorted(choices, key=lambda choice: choice.instance.id)
    }
    return [made.get(instance.id) or TaskTarget(instance.id, settled=NO_WAY) for instance in instances]


def _choose(
    tx: Transaction, call: Call, instances: Sequence[Instance], clients_on: Mapping[str, list[Client]], wish: Wish
) -> list[Choice]:
    package = wish.package or call.services.settings.default_package
    if package:
        return [_choice(instance, package, clients_on, wish.channel) for instance in instances]
    channel = wish.channel or STABLE
    there = {platform: releases.packages_offered(tx, platform, channel) for platform in {i.platform for i in instances}}
    if any(len(names) > 1 for names in there.values()) or (there and not any(there.values())):
        raise InvalidParameter(_which(sorted({name for names in there.values() for name in names}), channel))
    return [_choice(instance, "".join(there[instance.platform]), clients_on, wish.channel) for instance in instances]


def _choice(instance: Instance, package: str, clients_on: Mapping[str, list[Client]], channel: str | None) -> Choice:
    there = next((client for client in clients_on[instance.id] if client.package == package), None)
    return Choice(instance, package, channel or (there.channel if there else STABLE), there)


def _which(names: Sequence[str], channel: str) -> str:
    if names:
        return f"PackageName is not given, and channel {channel} offers several packages: {', '.join(names)}. Name one."
    return f"PackageName is not given, and channel {channel} offers no package for these instances yet. Add a release."


def _target(tx: Transaction, call: Call, choice: Choice, offered: list[releases.Release]) -> TaskTarget:
    instance = choice.instance
    if not offered:
        package = choice.package or "any package"
        text = (
            f"no release of {package} is offered for {instance.platform or 'its platform'} on {choice.channel}; add one"
        )
        return TaskTarget(instance.id, package=choice.package, platform=instance.platform, settled=("NoRelease", text))
    client = choice.there or fleet.ensure_client(
        tx,
        instance,
        choice.package,
        choice.channel,
        status=ClientStatus.NOT_INSTALLED,
        now=call.now,
        draw=call.services.draw,
    )
    # Keyed as the client is: it may follow another channel than the one this was asked from.
    return newest_of({(client.package, instance.platform, client.channel): offered})(instance, client)
