"""The ledger of backups: the runs of clients that hosts report. Knows nothing of rollouts.

Owns the tables client_runs and run_intervals. Publishes `backups` when a backup has failed; of other runs nothing: who
needs them reads them when it decides. Every verb takes a transaction.

- `note_runs` stores what a host reports, the same run once.
- `first_results` says how the first backup of each of some clients under a version ended, `count_results` how many
  backups of a package succeeded and failed.
- `find_runs` lists runs; `overdue` lists clients whose next backup did not begin when it usually does.
"""

from backfleet.backups.model import (
    FAILED,
    MOST_RUNS,
    SUCCEEDED,
    TOPIC,
    UNKNOWN,
    ClientRun,
    Overdue,
    ReportedRun,
    Results,
    RunFilter,
)
from backfleet.backups.noting import note_runs
from backfleet.backups.reading import count_results, find_runs, first_results, overdue

__all__ = [
    "FAILED",
    "MOST_RUNS",
    "SUCCEEDED",
    "TOPIC",
    "UNKNOWN",
    "ClientRun",
    "Overdue",
    "ReportedRun",
    "Results",
    "RunFilter",
    "count_results",
    "find_runs",
    "first_results",
    "note_runs",
    "overdue",
]
