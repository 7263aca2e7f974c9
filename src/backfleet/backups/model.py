"""Runs of clients. Plain values: no SQL."""

from datetime import datetime, timedelta
from typing import Final

from backfleet.values import value_object

SUCCEEDED, FAILED, UNKNOWN = "succeeded", "failed", "unknown"
"""How a run ended; "" while it runs. Unknown: its host did not see the exit code. It never counts as well."""

TOPIC: Final = "backups"  # published when a backup has failed
RESULTS: Final = ("", SUCCEEDED, FAILED, UNKNOWN)
MOST_RUNS: Final = 1000  # of one client that are kept
KEPT: Final = timedelta(days=400)


@value_object
class ReportedRun:
    """One run as a host reports it, with times by this server's clock."""

    id: str
    package: str
    version: str
    begun_at: datetime
    ended_at: datetime | None
    result: str
    code: int | None  # the exit code; of one that a signal killed, the signal's number, negative
    user: str
    caller: str  # the name of the program that started it
    is_backup: bool  # it makes a backup, and does not merely list or check some


@value_object
class ClientRun:
    """One run of a client, as it is stored."""

    id: str
    client_id: str
    instance_id: str
    account_id: str
    region: str
    package: str
    version: str
    begun_at: datetime
    ended_at: datetime | None
    result: str
    code: int | None
    user: str
    caller: str
    is_backup: bool


@value_object
class RunFilter:
    """Which runs are meant. None = all."""

    client_id: str | None = None
    instance_id: str | None = None
    package: str | None = None
    version: str | None = None
    result: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    is_backup: bool | None = None


@value_object
class Results:
    """How many backups ended how."""

    succeeded: int = 0
    failed: int = 0
    unknown: int = 0

    @property
    def known(self) -> int:
        """Those whose result is known."""
        return self.succeeded + self.failed


@value_object
class Overdue:
    """A client whose next backup did not begin when it usually does."""

    client_id: str
    last_begun_at: datetime
    usual: timedelta  # between two backups
    expected_by: datetime
