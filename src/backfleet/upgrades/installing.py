"""Which package an install puts on an instance, and in which version.

A caller may leave the package out: then it is found out here, from what releases offer. Source:
docs/decisions/0001-which-package.md.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from backfleet import carriers, fleet, releases
from backfleet.fleet import Client, ClientStatus, Hold, Instance, Place
from backfleet.ids import Draw
from backfleet.releases import STABLE
from backfleet.storage import Transaction
from backfleet.upgrades.model import TaskTarget
from backfleet.upgrades.offers import Offer, releases_by_offer
from backfleet.upgrades.planning import NO_CARRIER, PINNED, UpgradePlanner, pinned_text
from backfleet.values import value_object


class PackageUnclear(Exception):
    """No package was named, and the channel offers several of them for an instance, or none at all."""

    def __init__(self, channel: str, offered: Collection[str]) -> None:
        self.channel = channel
        self.offered = sorted(offered)  # the packages there are
        super().__init__(f"channel {channel} offers {', '.join(self.offered) or 'no package'}")


@value_object
class InstallOptions:
    """What the caller says about an install. None leaves the choice to us."""

    package: str | None = None
    channel: str | None = None  # None = the channel that the client follows, or stable
    tries_again: bool = False  # also a version that is quarantined on the host
    version: str = ""  # "" = the newest that is offered


@value_object
class _Choice:
    """What is to be installed on one instance: a package from a channel, over the client that is there if any."""

    instance: Instance
    package: str  # "" where none is offered
    channel: str
    client: Client | None

    @property
    def offer(self) -> Offer:
        return self.package, self.instance.platform, self.channel

    @property
    def place(self) -> Place:
        return self.instance.id, self.package


def plan_installs(
    tx: Transaction,
    instances: Sequence[Instance],
    clients_on: Mapping[str, Sequence[Client]],
    options: InstallOptions,
    *,
    default_package: str,
    now: datetime,
    draw: Draw,
) -> list[TaskTarget]:
    """Return one target for each of these reachable instances, in their order.

    A client is made only where there is something to install.

    Args:
        clients_on: what is known of each instance's clients, by instance id.
        default_package: what is installed if the options name no package; "" = the first that the channel offered for
            the instance's platform, until an operator chose another.

    Raises:
        PackageUnclear: no package is named, and not exactly one is offered.
    """
    able = [instance for instance in instances if carriers.takes_orders(instance)]
    choices = _choices(tx, able, clients_on, options, default_package)
    offered = releases_by_offer(tx, [choice.offer for choice in choices])
    places = {choice.place: choice.client.id if choice.client else "" for choice in choices if choice.package}
    holds = fleet.holds_of(tx, able[0].account_id, able[0].region, places, now=now) if places else {}
    # In the order of their ids, so that two calls that name the same instances cannot wait for each other.
    planned = {
        choice.instance.id: _target(tx, choice, offered, holds, options.version, now, draw)
        for choice in sorted(choices, key=lambda choice: choice.instance.id)
    }
    targets = [planned.get(instance.id) or TaskTarget(instance.id, resolved=NO_CARRIER) for instance in instances]
    return [replace(target, tries_again=options.tries_again) for target in targets]


def _choices(
    tx: Transaction,
    instances: Sequence[Instance],
    clients_on: Mapping[str, Sequence[Client]],
    options: InstallOptions,
    default_package: str,
) -> list[_Choice]:
    package = options.package or default_package
    if package:
        return [_choice(instance, package, clients_on, options.channel) for instance in instances]
    channel = options.channel or STABLE
    platforms = {instance.platform for instance in instances}
    defaults = releases.default_packages(tx, channel)
    offered = {
        platform: [defaults[platform]] if platform in defaults else releases.packages_offered(tx, platform, channel)
        for platform in platforms
    }
    if any(len(names) > 1 for names in offered.values()) or (offered and not any(offered.values())):
        raise PackageUnclear(channel, {name for names in offered.values() for name in names})
    return [
        _choice(instance, "".join(offered[instance.platform]), clients_on, options.channel) for instance in instances
    ]


def _choice(
    instance: Instance, package: str, clients_on: Mapping[str, Sequence[Client]], channel: str | None
) -> _Choice:
    client = next((client for client in clients_on[instance.id] if client.package == package), None)
    return _Choice(instance, package, channel or (client.channel if client else STABLE), client)


def _target(
    tx: Transaction,
    choice: _Choice,
    offered: Mapping[Offer, Sequence[releases.Release]],
    holds: Mapping[Place, Hold],
    version: str,
    now: datetime,
    draw: Draw,
) -> TaskTarget:
    instance, found = choice.instance, offered.get(choice.offer, [])
    if not found:
        package, platform = choice.package or "any package", instance.platform or "its platform"
        meant = releases.package_meant(tx, choice.package)
        advice = f"is {meant} meant?" if meant else "add one"
        text = f"no release of {package} is offered for {platform} on {choice.channel}; {advice}"
        return TaskTarget(instance.id, package=choice.package, platform=instance.platform, resolved=("NoRelease", text))
    refusal = None if choice.client else _refusal_of_first(choice, found, holds.get(choice.place), version)
    if refusal is not None:
        return TaskTarget(instance.id, package=choice.package, platform=instance.platform, resolved=refusal)
    client = choice.client or fleet.ensure_client(
        tx, instance, choice.package, choice.channel, status=ClientStatus.NOT_INSTALLED, now=now, draw=draw
    )
    # Offered to the client as it is: it may follow another channel than the one that this install names.
    offer = {(client.package, instance.platform, client.channel): found}
    return UpgradePlanner(offer, version, holds).newest(instance, client)


def _refusal_of_first(
    choice: _Choice, found: Sequence[releases.Release], hold: Hold | None, version: str
) -> tuple[str, str] | None:
    """Return why a package cannot come to an instance that has no client of it: none is made then."""
    if version:
        picked = releases.select_named(found, version, current="", pin="")
        if picked.refusal:
            return picked.refusal, f"{choice.package} {picked.text}"
    if hold is None:
        return None
    picked = (
        releases.select_named(found, version, current="", pin=hold.versions)
        if version
        else releases.select(found, current="", pin=hold.versions)
    )
    pin = hold.fixed or (None if picked.target is not None else hold.longest)
    return None if pin is None else (PINNED, pinned_text(choice.package, pin))
