"""Which version a client moves to, and what is refused: pure.

A planner decides about one client on one instance. The functions apply it to what a caller names, and refuse what no
order can reach. What our tables say of a host decides nothing but where an order goes: a machine may have been reverted
to a snapshot, or this server restored from a copy. Only the host says that there is nothing to do, in answer to an
order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from backfleet import carriers, releases
from backfleet.fleet import AgentRun, Client, ClientStatus, Hold, Instance, Pin, Place, Reachability
from backfleet.releases import Release
from backfleet.upgrades.model import TaskTarget
from backfleet.upgrades.offers import Offer

REFUSALS: Final = {
    "NoRelease": "no release of {package} is offered for {platform} on channel {channel}; add one",
    "NotAllowedFrom": "no release of {package} can be reached from {current}; add the intermediate version it requires",
}
NO_CARRIER: Final = ("UnsupportedPlatform", "there is no host program for this host's platform; upgrades work on Linux")
NO_CLIENT: Final = ("ClientNotInstalled", "no backup client is known on this instance; install one first")
CLONED: Final = (
    "HostCloned",
    "several hosts use this instance's identity: {hosts}. Run `backfleet-host enrol --new-identity` on the copy (with "
    "the official agent: register it anew), and ask again 7 minutes later",
)
PINNED: Final = "Pinned"
NO_HOLDS: Final[Mapping[Place, Hold]] = {}
UNKNOWN_CLIENT: Final = ("ClientNotExists", "there is no such client in this account and region")


class Planner(Protocol):
    """Rules for what a task does to clients."""

    def includes(self, client: Client) -> bool:
        """Return whether the client is meant where only its instance is named."""

    def plan(self, instance: Instance, client: Client) -> TaskTarget:
        """Return what is to be done with a client on a reachable instance."""


def plan_for_instance(instance: Instance, clients: Sequence[Client], planner: Planner) -> list[TaskTarget]:
    """Return one target for each client of a reachable instance that the planner includes; a refusal if it has none.

    If the planner includes none of them, each is asked for all the same: the host may know better than we do.
    """
    included = [client for client in clients if planner.includes(client)] or clients
    if not included:
        return [TaskTarget(instance.id, resolved=NO_CLIENT)]
    return [planner.plan(instance, client) for client in included]


def plan_for_client(instance: Instance, client: Client, reachability: Reachability, planner: Planner) -> TaskTarget:
    """Return the target for one client, a refusal if its instance cannot be reached."""
    if reachability is not Reachability.REACHABLE:
        text = f"its instance cannot be given work now: {reachability.value}"
        return refused(instance, client, "HostUnreachable", text)
    return planner.plan(instance, client)


def refuse_clones(targets: Sequence[TaskTarget], clones: Mapping[str, Sequence[AgentRun]]) -> list[TaskTarget]:
    """Return targets of which those are refused whose instance several hosts claim to be: any of them might get it."""
    if not clones:
        return list(targets)
    code, text = CLONED
    return [
        replace(target, resolved=(code, text.format(hosts="; ".join(run.text for run in clones[target.instance_id]))))
        if target.instance_id in clones and target.resolved is None
        else target
        for target in targets
    ]


def unknown_client(client_id: str) -> TaskTarget:
    """Return the refusal for the id of a client that does not exist."""
    return TaskTarget("", client_id, resolved=UNKNOWN_CLIENT)


class UpgradePlanner:
    """Moves installed clients to the newest release of their package, platform and channel.

    A client that is being installed is included, so that its item can name the task that does it.
    """

    def __init__(
        self,
        offered: Mapping[Offer, Sequence[Release]],
        version: str = "",
        holds: Mapping[Place, Hold] = NO_HOLDS,
    ) -> None:
        """Plan with these releases; `releases_by_offer` reads them. All go to `version` if it is given.

        Args:
            offered: the releases.
            version: where all go; "" = each to the newest that it may have.
            holds: the clients that pins hold.
        """
        self._offered = offered
        self._version = version
        self._holds = holds
        self._selections: dict[
            tuple[str, ...], releases.Selection
        ] = {}  # many clients ask the same question: answered once

    def includes(self, client: Client) -> bool:
        """Include what is installed or being installed, and what may be there although we do not know it."""
        return client.is_installed or client.in_doubt or client.status is ClientStatus.INSTALLING

    def plan(self, instance: Instance, client: Client) -> TaskTarget:
        """Return the move to the newest release, or why there is none. Whether it is installed, the host says."""
        return no_carrier(instance, client) or self.newest(instance, client)

    def newest(self, instance: Instance, client: Client) -> TaskTarget:
        """Return the move of a client, installed or not, to the newest release that it may move to.

        A client that has it already, as far as we know, is given the same version as its target: its host confirms it,
        or moves to it, or repairs it.
        """
        offer = (client.package, instance.platform, client.channel)
        hold = self._holds.get((instance.id, client.package))
        if hold is not None:
            pin = self._refusing(hold, offer, client)
            if pin is not None:
                return pinned(instance, client, pin)
        picked = self._selection(offer, client, self._allowed(hold, client))
        if picked.refusal:
            text = f"{client.package} {picked.text}" if picked.text else _no_release(instance, client, picked.refusal)
            return refused(instance, client, picked.refusal, text)
        version = client.version if picked.target is None else picked.target.version
        return _target(instance, client, version)

    def _refusing(self, hold: Hold, offer: Offer, client: Client) -> Pin | None:
        """Return the pin that keeps a client from the move that it would make; None if it may, or would make none."""
        if self._version and self._version == client.version:
            return None
        if hold.fixed is not None:
            return hold.fixed
        free = self._selection(offer, client, "").target
        if free is None or self._selection(offer, client, hold.versions).target is not None:
            return None
        return hold.refusing(free.version_scheme, free.version, client.version) or hold.longest

    def _allowed(self, hold: Hold | None, client: Client) -> str:
        """Return the range that pins leave to a client; "" = any."""
        return "" if hold is None or (self._version and self._version == client.version) else hold.versions

    def _selection(self, offer: Offer, client: Client, pin: str) -> releases.Selection:
        question = (*offer, client.version, pin)
        if question not in self._selections:
            offered = self._offered.get(offer, [])
            self._selections[question] = (
                releases.select_named(offered, self._version, current=client.version, pin=pin)
                if self._version
                else releases.select(offered, current=client.version, pin=pin)
            )
        return self._selections[question]


class RollBackPlanner:
    """Takes clients back: each to its host's own previous version, or all to a named one that is older."""

    def __init__(
        self,
        version: str,
        known: Mapping[tuple[str, str], Release | None],
        holds: Mapping[Place, Hold] = NO_HOLDS,
    ) -> None:
        """Plan to go to `version`, "" for what each host had before.

        Args:
            version: where all go.
            known: that version by package and platform.
            holds: the clients that pins hold.
        """
        self._version = version
        self._known = known
        self._holds = holds

    def includes(self, client: Client) -> bool:
        """Include what is installed, and what may be there although we do not know it."""
        return client.is_installed or client.in_doubt

    def plan(self, instance: Instance, client: Client) -> TaskTarget:
        """Return the way back, or why there is none. Whether the host kept that version, the host says."""
        refusal, hold = no_carrier(instance, client), self._holds.get((instance.id, client.package))
        if refusal is None and hold is not None and not self._version:  # only the host knows what it had
            return pinned(instance, client, hold.longest)
        if refusal is not None or not self._version:
            return refusal or _target(instance, client)
        release, goal = self._known.get((client.package, instance.platform)), self._version
        if release is None or release.withdrawn_at is not None:
            state = "is not a release for its platform" if release is None else "was withdrawn"
            text = f"{client.package} {goal} {state}; name another version, or none for what the host had before"
            return refused(instance, client, "NoRelease", text)
        pin = hold.refusing(release.version_scheme, goal, client.version) if hold is not None else None
        if pin is not None:
            return pinned(instance, client, pin)
        if client.version and release.version_scheme.is_newer(goal, client.version):
            text = f"{goal} is newer than {client.version}, which is installed; an upgrade goes there"
            return refused(instance, client, "NotAllowedFrom", text)
        return _target(instance, client, goal)


class UninstallPlanner:
    """Removes clients from their hosts."""

    def __init__(self, holds: Mapping[Place, Hold] = NO_HOLDS) -> None:
        """Plan with the clients that pins hold: they stay."""
        self._holds = holds

    def includes(self, client: Client) -> bool:
        """Include every client."""
        return True

    def plan(self, instance: Instance, client: Client) -> TaskTarget:
        """Return the removal of a client, or the pin that keeps it. Whether it is installed, the host says."""
        hold = self._holds.get((instance.id, client.package))
        if hold is not None:
            return no_carrier(instance, client) or pinned(instance, client, hold.longest)
        return no_carrier(instance, client) or _target(instance, client)


def no_carrier(instance: Instance, client: Client) -> TaskTarget | None:
    """Return the refusal of a client whose host no carrier can bring an order to; None if one can."""
    return None if carriers.takes_orders(instance) else refused(instance, client, *NO_CARRIER)


def pinned(instance: Instance, client: Client, pin: Pin) -> TaskTarget:
    """Return the refusal of a client that a pin keeps where it is."""
    return refused(instance, client, PINNED, pinned_text(client.package, pin))


def pinned_text(package: str, pin: Pin) -> str:
    """Return why a pin refuses a move, and what to do."""
    return f"{package} stays: {pin.text}. Wait, or delete the pin (`backfleet client unpin`, DeletePin)"


def refused(instance: Instance, client: Client, code: str, message: str) -> TaskTarget:
    """Return a target that fails at once."""
    return replace(_target(instance, client), resolved=(code, message))


def _no_release(instance: Instance, client: Client, code: str) -> str:
    return REFUSALS[code].format(
        package=client.package,
        platform=instance.platform or "its platform, which is not known",
        channel=client.channel,
        current=client.version,
    )


def _target(instance: Instance, client: Client, version: str = "") -> TaskTarget:
    return TaskTarget(
        instance.id, client.id, client.package, instance.platform, from_version=client.version, to_version=version
    )
