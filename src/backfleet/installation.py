"""Whether a data folder and a database are of one installation, and that one server at a time has the folder.

Keys without their database, and a database without its keys, are what a wrong path, an unmounted disk or half a restore
leaves. A server that made the missing half would answer that it is ready, and no host would ever trust it again.
"""

import errno
import os
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from backfleet import identity
from backfleet.certificates import authority_file
from backfleet.data_lock import SERVING_LOCK, NotOneInstallation, hold_data_folder, is_of_parts, why_in_use
from backfleet.settings import Settings
from backfleet.storage import Database, Unavailable, WrongSchema, database_trouble, is_new

__all__ = [
    "NEEDED_KEYS",
    "SERVING_LOCK",
    "USELESS",
    "NotOneInstallation",
    "check_database_is_there",
    "check_keys_are_there",
    "describe",
    "hold_data_folder",
    "is_of_parts",
    "missing_keys",
    "serving_file",
    "why_in_use",
]

NEEDED_KEYS: Final = ("secrets.key", "ca.key", "release-snapshot.key", "release-timestamp.key")
"""In `keys/`. Those of root and targets may be elsewhere, and the server's own is made anew when it is due."""


USELESS: Final = (OSError, NotOneInstallation, WrongSchema, Unavailable, sa.exc.SQLAlchemyError, ValueError)
"""What a start may meet that an operator must see to."""


def check_database_is_there(data: Path, database: Database) -> None:
    """Return unless the database is new and the data folder is not. Call it before anything is made.

    Raises:
        NotOneInstallation: the database of these keys is missing.
    """
    # In this order: a replica that starts for the first time at this moment makes its keys after its database.
    has_keys = any((data / "keys" / name).exists() for name in NEEDED_KEYS)
    if has_keys and is_new(database):
        where = database.file.path if database.file is not None else "the database"
        raise NotOneInstallation(
            f"{data / 'keys'} has the keys of an installation, and {where} is missing or empty. Bring it back "
            "(a backup, the right --database-url, a disk to mount). To begin anew, move keys, tls, artifacts and "
            f"admin.json out of {data}"
        )


def check_keys_are_there(data: Path, database: Database) -> None:
    """Return unless the database is in use and a key of it is missing. Call it before a key is made.

    Raises:
        NotOneInstallation: a key is missing.
    """
    with database.reading() as tx:
        is_in_use = bool(identity.list_accounts(tx))
    missing = missing_keys(data)
    if is_in_use and missing:
        raise NotOneInstallation(
            f"the database is in use, and {', '.join(map(str, missing))} is missing. Bring keys and tls back from a "
            "backup, or copy them from another replica; with new ones no host would trust this server, "
            "and no stored secret could be opened. If --data is wrong, correct it"
        )


def missing_keys(data: Path) -> list[Path]:
    """Return the files of an installation that a data folder lacks: keys, and the authority that hosts trust."""
    needed = [*(data / "keys" / name for name in NEEDED_KEYS), authority_file(data)]
    return [path for path in needed if not path.exists()]


def serving_file(settings: Settings) -> Path:
    """Return where this process writes down where it listens: servers of different parts have a file each."""
    name = f"serving-{'+'.join(sorted(settings.only))}.json" if is_of_parts(settings) else "serving.json"
    return settings.data / name


def describe(problem: Exception, data: Path) -> str:
    """Return why a server cannot start, and what to do.

    Args:
        problem: One of USELESS.
        data: The data folder.
    """
    if isinstance(problem, NotOneInstallation | WrongSchema):
        return str(problem)
    if isinstance(problem, OSError) and problem.errno not in (errno.ENOSPC, errno.EDQUOT):
        return f"the data folder {data} cannot be used: {problem}; see --data"
    # SQLite says of a disk without free inodes only that it cannot open its files.
    if isinstance(problem, OSError) or _is_full(data):
        return f"the disk of the data folder {data} is full; free some of it, and start again"
    reason = database_trouble(problem) or str(problem).strip().split("\n", 1)[0]
    return f"the database cannot be used: {reason}; see --database-url"


def _is_full(data: Path) -> bool:
    try:
        disk = os.statvfs(data)
    except OSError:
        return False
    return not disk.f_bavail or (disk.f_files > 0 and not disk.f_favail)  # some have no number of inodes
