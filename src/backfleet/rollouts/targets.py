"""The version that a rollout goes to, and for which of its hosts it cannot be had. It is fixed once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from backfleet import releases
from backfleet.fleet import Instance
from backfleet.releases import Release
from backfleet.rollouts.policy import Fault, Kind, Policy
from backfleet.storage import Transaction

SHOWN: Final = 5  # versions named in a fault

WITHDRAWN: Final = "was withdrawn"
NOT_SIGNED: Final = "waits for its signature"
NO_RELEASE: Final = "has no release"

_WANTED: Final = {
    WITHDRAWN: "offer it again (`backfleet release offer`), or name another version",
    NOT_SIGNED: "have it signed (`backfleet release pending`, `sign` and `publish`)",
    NO_RELEASE: "add its release for this platform",
}


@dataclass(frozen=True, slots=True)
class NotToBeHad:
    """Selected hosts of one platform that cannot have the target.

    `platform`: "" where a host did not say it. `why`: WITHDRAWN, NOT_SIGNED or NO_RELEASE.
    """

    platform: str
    hosts: int
    why: str


@dataclass(frozen=True, slots=True)
class Target:
    """The version ("" for settings, and where there is none), who cannot have it, and what forbids it."""

    version: str
    not_to_be_had: tuple[NotToBeHad, ...] = ()
    faults: tuple[Fault, ...] = ()


def target_of(tx: Transaction, policy: Policy, instances: Sequence[Instance]) -> Target:
    """Return where a policy goes. Settings go to clients of any version.

    Args:
        tx: the transaction to read in.
        policy: the policy.
        instances: the hosts of the clients that it selects.
    """
    if policy.kind is Kind.SETTINGS:
        return Target("")
    every = releases.find_all(tx, policy.package)
    offered = [release for release in every if why_not(release) == ""]
    version = policy.version
    if not version:
        newest = releases.newest([release for release in offered if policy.channel in release.channels])
        if newest is None:
            wanted = f"no release of {policy.package} is offered on it"
            return Target("", faults=(Fault(0, "channel", repr(policy.channel), wanted),))
        version = newest.version
    named = [release for release in every if release.version == version]
    lacking = _lacking(named, instances)
    if not named:
        known = ", ".join(sorted({release.version for release in offered})[-SHOWN:]) or "none"
        wanted = f"no such release of {policy.package} is offered; known: {known}"
        return Target(version, lacking, (Fault(0, "version", version, wanted),))
    if not lacking and not any(release in offered for release in named):
        why = why_not(named[0])
        return Target(version, (), (Fault(0, "version", f"{version}: it {why}", _WANTED[why]),))
    faults = [
        Fault(0, "version", f"{version}: for {each.platform or 'an unknown platform'} it {each.why}", _need(each))
        for each in lacking
    ]
    return Target(version, lacking, tuple(faults))


def why_not(release: Release | None) -> str:
    """Return why no host can have a release now, as the end of a sentence about its version; "" if hosts can."""
    if release is None:
        return NO_RELEASE
    if release.withdrawn_at is not None:
        return WITHDRAWN
    return NOT_SIGNED if release.published_at is None else ""


def _lacking(named: Sequence[Release], instances: Sequence[Instance]) -> tuple[NotToBeHad, ...]:
    why = {release.platform: why_not(release) for release in named}
    lacking = Counter(each.platform for each in instances if why.get(each.platform, NO_RELEASE))
    return tuple(
        NotToBeHad(platform, number, why.get(platform, NO_RELEASE)) for platform, number in sorted(lacking.items())
    )


def _need(lacking: NotToBeHad) -> str:
    number = lacking.hosts
    return f"{_WANTED[lacking.why]}: {number} host{'' if number == 1 else 's'} need{'s' if number == 1 else ''} it"
