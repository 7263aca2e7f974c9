"""The releases that are offered to clients, by what a client follows: its package, platform and channel."""

from collections.abc import Iterable
from typing import Final

from backfleet import releases
from backfleet.releases import Release
from backfleet.storage import Transaction
from backfleet.values import value_object

Offer = tuple[str, str, str]
"""Package, platform, channel."""
CURRENT: Final = "Current"
BEHIND: Final = "Behind"
WITHDRAWN: Final = "Withdrawn"


@value_object
class OfferSummary:
    """What a client can know of its offer."""

    newest: Release | None
    withdrawn: frozenset[str]  # versions

    def state_of(self, version: str) -> str:
        """Return how a version stands: Current, Behind or Withdrawn; "" if nothing is installed or offered."""
        if version and version in self.withdrawn:
            return WITHDRAWN
        if not version or self.newest is None:
            return ""
        return BEHIND if self.newest.version_scheme.is_newer(self.newest.version, version) else CURRENT


def releases_by_offer(tx: Transaction, wanted: Iterable[Offer]) -> dict[Offer, list[Release]]:
    """Return what each of these offers, in a constant number of queries. Those that offer nothing are left out."""
    found: dict[Offer, list[Release]] = {}
    for release in releases.offered_for(tx, sorted(set(wanted))):
        for channel in release.channels:
            found.setdefault((release.package, release.platform, channel), []).append(release)
    return found


def newest_versions(tx: Transaction, wanted: Iterable[Offer]) -> dict[Offer, str]:
    """Return the newest version of each of these, whatever pins say. Those that offer nothing are left out."""
    best = {offer: releases.newest(those) for offer, those in releases_by_offer(tx, wanted).items()}
    return {offer: release.version for offer, release in best.items() if release is not None}


def summaries(tx: Transaction, wanted: Iterable[Offer]) -> dict[Offer, OfferSummary]:
    """Return a summary of each of these, whatever pins say. Those that offer nothing are left out."""
    return {
        offer: OfferSummary(
            releases.newest(those), frozenset(release.version for release in those if release.withdrawn_at is not None)
        )
        for offer, those in releases_by_offer(tx, wanted).items()
    }
