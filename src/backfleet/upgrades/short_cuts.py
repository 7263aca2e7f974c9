"""What hosts say of the deltas that they downloaded in place of whole artifacts."""

from collections import Counter
from collections.abc import Mapping, Sequence

from backfleet import releases
from backfleet.carriers import Outcome
from backfleet.storage import Database
from backfleet.upgrades.model import Item
from backfleet.upgrades.outcomes import output_for

LONGEST_NAME = 64  # characters of a version
MOST_VERSIONS = 20  # of one order, which may go over several


def record(database: Database, ended: Sequence[Item], outcomes: Mapping[str, Outcome]) -> None:
    """Count the deltas that orders downloaded which have just ended. If the process dies before, they are not counted.

    Args:
        database: Where they are counted, in a transaction of its own: others wait for nothing longer than that.
        ended: The items that ended with what their hosts sent.
        outcomes: What hosts sent, by the item's id.
    """
    counted = by_delta(ended, outcomes)
    if counted:
        with database.transaction() as tx:
            releases.note_delta_downloads(tx, counted)


def by_delta(ended: Sequence[Item], outcomes: Mapping[str, Outcome]) -> Counter[tuple[str, str, str, str]]:
    """Return how many of these orders downloaded each delta: package, version, platform, the base's version. Pure.

    A host may say anything. What it says chooses among the deltas that there are, and counts one of them once.
    """
    counted: Counter[tuple[str, str, str, str]] = Counter()
    for item in ended:
        report = output_for(item, outcomes[item.id]).report if item.id in outcomes else None
        downloads = report.details.get("downloads") if report is not None else None
        if not isinstance(downloads, dict):
            continue
        for version, known in list(downloads.items())[:MOST_VERSIONS]:
            base = known.get("base") if isinstance(known, dict) and known.get("way") == "delta" else None
            if isinstance(base, str) and max(len(base), len(version)) <= LONGEST_NAME:
                counted[item.package, version, item.platform, base] += 1
    return counted
