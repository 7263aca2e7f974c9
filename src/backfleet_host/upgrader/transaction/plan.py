"""The values that the steps of an upgrade hand on: the plan, and the baseline that the new version is compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, FrozenSet, List, Mapping, Optional, Tuple

from backfleet_host.manifest import Manifest
from backfleet_host.upgrader.host.policy import Policy
from backfleet_host.upgrader.host.rights import Rights
from backfleet_host.upgrader.release.source import ReleaseTarget

OWN_FILES = 8  # the artifact, the tree's own folder, its facts, and the folder for the shim, with those they replace


@dataclass(frozen=True)
class Plan:
    """What is to be done, as the first step has decided it. Nothing was touched for it."""

    policy: Policy = Policy()
    targets: Tuple[ReleaseTarget, ...] = ()  # the upgrade path: intermediate versions, and the order's version last
    repair: Optional[ReleaseTarget] = None  # the installed version, if it is damaged and can be downloaded again
    intact_seen_at: float = float("-inf")  # when the installed version was last found intact, in monotonic seconds
    rights: Mapping[str, Rights] = field(default_factory=dict)  # of the installed commands, for those of all versions

    @property
    def goal(self) -> Manifest:
        """The order's own version."""
        return self.targets[-1].manifest

    @property
    def needed(self) -> List[ReleaseTarget]:
        """Every release that must be intact on disk before anything is switched, each once."""
        repair = [] if self.repair is None or self.repair in self.targets else [self.repair]
        return [*repair, *self.targets]

    def disk_bytes(self) -> int:
        """Return the space that artifacts and trees need."""
        return sum(target.length + target.manifest.unpacked_bytes for target in self.needed)

    def inodes(self) -> int:
        """Return how many files and folders artifacts and trees need, at most."""
        return sum(target.manifest.entries + len(target.manifest.bin) + OWN_FILES for target in self.needed)

    def preserved_paths(self, old: Optional[Manifest]) -> List[str]:
        """Return the paths of all state that must survive: those of the host, the old and the new versions."""
        named = [*self.policy.package.keeps, *(old.preserve if old else ())]
        for target in self.targets:
            named.extend(target.manifest.preserve)
        return list(dict.fromkeys(named))

    def must_be_idle(self, old: Optional[Manifest]) -> bool:
        """Return whether no backup may run during the switch.

        A release may ask for that. State that is compared and restored must have one writer, so a package with any
        preserved state is drained too.
        """
        passed = [*([old] if old else []), *(target.manifest for target in self.targets)]
        return any(manifest.switch == "idle" for manifest in passed) or bool(self.preserved_paths(old))


@dataclass(frozen=True)
class Baseline:
    """How the old version was before the switch. What failed then is no fault of the new version, nor of a rollback."""

    serving: bool = False  # its service ran, and is to run afterwards
    unhealthy: str = ""  # why it was not healthy; "" = it was
    failing_probes: FrozenSet[str] = frozenset()
    words: str = ""  # of its health command, without what differs between versions; "" = it was healthy
    served_users: FrozenSet[str] = frozenset()  # its shims ran for them
    unserved_users: FrozenSet[str] = frozenset()  # its shims did not run for them
    cannot_start: FrozenSet[str] = frozenset()  # commands that could not be started; found out without a health command

    def journal_fields(self) -> Dict[str, Any]:
        """Return it as the fields of the journal's line `switching`."""
        return {
            "serving": self.serving,
            "failing": sorted(self.failing_probes),
            "unwell": self.unhealthy,
            "words": self.words,
            "users": {"served": sorted(self.served_users), "unserved": sorted(self.unserved_users)},
            "cannot_start": sorted(self.cannot_start),
        }
