"""The version that a rollout goes to, and which of its hosts cannot have it. It is fixed once."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from backfleet import releases
from backfleet.fleet import Instance
from backfleet.releases import Release
from backfleet.rollouts.assignment import Candidate
from backfleet.rollouts.policy import Fault, Kind, Policy
from backfleet.storage import Transaction
from backfleet.values import value_object
from backfleet_host.texts import counted

SHOWN: Final = 5  # versions named in a fault

WITHDRAWN: Final = "was withdrawn"
NOT_SIGNED: Final = "waits for its signature"
NO_RELEASE: Final = "has no release"

_CLIMBS: Final = (Kind.UPGRADE, Kind.PRECHECK, Kind.STAGE, Kind.AGENT)
"""The kinds that go up from the version that a host has."""

_WANTED: Final = {
    WITHDRAWN: "offer it again (`backfleet release offer`), or name another version",
    NOT_SIGNED: "have it signed (`backfleet release pending`, `sign` and `publish`)",
    NO_RELEASE: "add its release for this platform",
}


@value_object
class NotToBeHad:
    """Selected hosts of one platform that cannot have the target: all, or those with one version.

    `platform`: "" where a host did not say it. `why`: WITHDRAWN, NOT_SIGNED or NO_RELEASE; of hosts with a
    `from_version`, from where the target may be reached.
    """

    platform: str
    hosts: int
    why: str
    from_version: str = ""


@value_object
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


def without_path(tx: Transaction, policy: Policy, target: str, candidates: Sequence[Candidate]) -> list[NotToBeHad]:
    """Return from which versions no upgrade path leads to the target, by platform; the most hosts first.

    A host takes the path within its order, over any version that is offered for its platform, whatever its channel.
    What goes back, or comes to a host for the first time, needs none.
    """
    if policy.kind not in _CLIMBS or not target:
        return []
    alike = Counter((each.platform, each.version) for each in candidates)
    signed = [release for release in releases.find_all(tx, policy.package) if release.published_at is not None]
    by_platform = {
        platform: [each for each in signed if each.platform == platform] for platform in {each for each, _ in alike}
    }
    found = []
    for (platform, version), number in alike.items():
        why = _why_no_path(by_platform[platform], target, version)
        if why:
            found.append(NotToBeHad(platform, number, why, version))
    return sorted(found, key=lambda each: (-each.hosts, each.platform, each.from_version))


def _why_no_path(offered: Sequence[Release], target: str, current: str) -> str:
    """Return why a version cannot be reached from another one; "" if it can, or for any other reason."""
    named = next((release for release in offered if release.version == target), None)
    if named is None or named.version_scheme.is_older(target, current):
        return ""
    if releases.select_named(offered, target, current=current, pin="").refusal != "NotAllowedFrom":
        return ""
    return f"may be reached from {named.manifest.upgrades_from} only, and no version that is offered leads there"


def faults_of_paths(target: str, lacking: Sequence[NotToBeHad], members: int) -> list[Fault]:
    """Return as a fault that no member at all can reach the target."""
    if not lacking or sum(each.hosts for each in lacking) < members:
        return []
    first = lacking[0]
    found = f"{target}: {counted(members, 'client')} cannot reach it; from {first.from_version} it {first.why}"
    return [Fault(0, "version", found, "add the intermediate version that it requires, or name another version")]


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
