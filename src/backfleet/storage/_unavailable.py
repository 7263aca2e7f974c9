"""What a failure of the database means: whether the same may work later, and which connections are of no more use.

The driver's exception classes do not tell: a standby that refuses to write raises what a bug raises, and SQLite says
`OperationalError` both for a full disk and for a column that does not exist. So the database's own codes decide.

Source: PostgreSQL, Appendix A, "Error Codes"; SQLite, "Result and Error Codes".
"""

import enum
import sqlite3
from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa

from backfleet.values import value_object


class Trouble(enum.Enum):
    """Why the database cannot be used now, as a sentence for an operator. It names no address and no statement."""

    AWAY = "the database does not answer; start it, or see why it cannot be reached"
    READ_ONLY = (
        "the database refuses to write: it is a standby that is not promoted, or was made read-only; "
        "promote it, or send this server to the primary"
    )
    FULL = "the disk of the database is full; free some of it"
    CROWDED = "the database has no connection or memory left for this server; see max_connections in docs/operations"
    LOCKED = "somebody else holds a lock in the database for too long; see which process does"
    SLOW = "the database took too long for one statement and it was cancelled"
    FILES = "the database cannot read or write its own files; see its disk and their owner"
    DAMAGED = "the database is damaged; stop the server and restore a backup"
    REPLACED = (
        "the database file was deleted or replaced, or its disk unmounted, while the server used it; "
        "stop the server, bring the file back, and start it again"
    )
    CHANGED = "the database forgot a statement that this server prepared; the next try prepares it again"
    CALLER_GONE = "the caller has closed its connection, so its call was not carried out"
    TOO_LATE = "the call could not be carried out in its time, so it was not"


class Unavailable(Exception):
    """The database cannot do it now. Nothing was written, or it is unknown whether it was; it may be tried again."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.value)
        self.trouble = trouble


class Keep(enum.Enum):
    """Which connections are good for more work after a failure."""

    ALL = enum.auto()
    OTHERS = enum.auto()  # all but the one that failed
    NONE = enum.auto()  # the others lead to the same server


@value_object
class Diagnosis:
    """The meaning of a failure that may be over later."""

    trouble: Trouble
    keep: Keep = Keep.ALL


AWAY: Final = Diagnosis(Trouble.AWAY, Keep.NONE)

BY_SQLSTATE: Final[Mapping[str, Diagnosis]] = {
    "08": AWAY,  # connection exceptions
    "0A000": Diagnosis(Trouble.CHANGED, Keep.NONE),  # if the text is that of CACHED_PLAN
    "25006": Diagnosis(Trouble.READ_ONLY, Keep.NONE),  # read_only_sql_transaction
    "25P03": Diagnosis(Trouble.SLOW, Keep.OTHERS),  # idle_in_transaction_session_timeout
    "25P04": Diagnosis(Trouble.SLOW, Keep.OTHERS),  # transaction_timeout
    "26000": Diagnosis(Trouble.CHANGED, Keep.NONE),  # invalid_sql_statement_name: a pooler gave us another session
    "28": AWAY,  # invalid authorization: the password was changed, here or there
    "3D000": AWAY,  # invalid_catalog_name: the database does not exist, yet or any more
    "40": Diagnosis(Trouble.LOCKED),  # serialization_failure, deadlock_detected ...
    "42P05": Diagnosis(Trouble.CHANGED, Keep.NONE),  # duplicate_prepared_statement: as 26000
    "53": Diagnosis(Trouble.CROWDED),  # too_many_connections, out_of_memory ...
    "53100": Diagnosis(Trouble.FULL),  # disk_full
    "55000": Diagnosis(Trouble.READ_ONLY, Keep.NONE),  # a lock on a standby: "while recovery is in progress"
    "55006": Diagnosis(Trouble.LOCKED),  # object_in_use
    "55P03": Diagnosis(Trouble.LOCKED),  # lock_not_available: lock_timeout
    "57014": Diagnosis(Trouble.SLOW),  # query_canceled: statement_timeout
    "57P": AWAY,  # admin_shutdown, crash_shutdown, cannot_connect_now, database_dropped
    "57P05": Diagnosis(Trouble.AWAY, Keep.OTHERS),  # idle_session_timeout
    "58": Diagnosis(Trouble.FILES),  # system_error, io_error ...
    "72000": Diagnosis(Trouble.SLOW),  # snapshot_too_old
    "XX001": Diagnosis(Trouble.DAMAGED),  # data_corrupted
    "XX002": Diagnosis(Trouble.DAMAGED),  # index_corrupted
}
"""By SQLSTATE, or the beginning of one: the longest that fits counts. Others are faults of ours, or refusals."""

BY_SQLITE_CODE: Final[Mapping[int, Diagnosis]] = {
    sqlite3.SQLITE_BUSY: Diagnosis(Trouble.LOCKED),
    sqlite3.SQLITE_LOCKED: Diagnosis(Trouble.LOCKED),
    sqlite3.SQLITE_PROTOCOL: Diagnosis(Trouble.LOCKED),
    sqlite3.SQLITE_INTERRUPT: Diagnosis(Trouble.SLOW),
    sqlite3.SQLITE_NOMEM: Diagnosis(Trouble.CROWDED),
    sqlite3.SQLITE_FULL: Diagnosis(Trouble.FULL),
    sqlite3.SQLITE_READONLY: Diagnosis(Trouble.READ_ONLY),
    sqlite3.SQLITE_READONLY_DBMOVED: Diagnosis(Trouble.REPLACED),
    sqlite3.SQLITE_IOERR: Diagnosis(Trouble.FILES, Keep.OTHERS),
    sqlite3.SQLITE_CANTOPEN: Diagnosis(Trouble.FILES),
    sqlite3.SQLITE_PERM: Diagnosis(Trouble.FILES),
    sqlite3.SQLITE_CORRUPT: Diagnosis(Trouble.DAMAGED, Keep.OTHERS),
    sqlite3.SQLITE_NOTADB: Diagnosis(Trouble.DAMAGED, Keep.OTHERS),
}
"""By extended result code, else by its primary one, which is its last byte."""

CACHED_PLAN: Final = "cached plan must not change result type"  # another replica migrated; else it is a bug


def diagnose(problem: BaseException) -> Diagnosis | None:
    """Return what a failure of the database means; None if trying again will not help.

    Args:
        problem: What SQLAlchemy or a driver raised.
    """
    if isinstance(problem, sa.exc.TimeoutError):  # all connections of this process are in use
        return Diagnosis(Trouble.CROWDED)
    cause = problem.orig if isinstance(problem, sa.exc.DBAPIError) else problem
    sqlstate, sqlite_code = getattr(cause, "sqlstate", None), getattr(cause, "sqlite_errorcode", None)
    if sqlstate is not None:
        if sqlstate == "0A000" and CACHED_PLAN not in str(cause):
            return None
        return next((BY_SQLSTATE[sqlstate[:n]] for n in range(5, 1, -1) if sqlstate[:n] in BY_SQLSTATE), None)
    if sqlite_code is not None:
        return BY_SQLITE_CODE.get(sqlite_code) or BY_SQLITE_CODE.get(sqlite_code & 0xFF)
    # The drivers have no code for a connection that could not be made or was lost.
    is_connection = isinstance(problem, sa.exc.OperationalError | sa.exc.InterfaceError)
    return AWAY if is_connection or getattr(problem, "connection_invalidated", False) else None


def database_trouble(problem: BaseException) -> str:
    """Return the sentence for a failure that may be over later, "" for others."""
    found = diagnose(problem)
    return found.trouble.value if found is not None and found.trouble is not Trouble.AWAY else ""
