"""Minimum versions: no client of a package is to be below one after a moment."""

from datetime import datetime

from backfleet.values import value_object
from backfleet_host.versions import Scheme


@value_object
class MinimumVersion:
    """The minimum of a package. Account, region and package identify it: there is one."""

    account_id: str
    region: str
    package: str
    version: str
    due_at: datetime
    reason: str
    owner: str  # the ARN of who put it
    created_at: datetime

    def is_due(self, now: datetime) -> bool:
        """Return whether every client should have it by now."""
        return now >= self.due_at


def is_below(scheme: Scheme, version: str, minimum: str) -> bool:
    """Return whether a version is below a minimum. One that does not compare is: not known never counts as well.

    "" is neither: nothing is installed, or nothing is asked for.
    """
    return bool(version and minimum) and scheme.is_newer(minimum, version)
