"""Make the deltas that are wanted, one after the other, each in a process of its own.

Making one takes minutes and a gigabyte for a large program: the server must neither wait nor run out of memory for it.
"""

import contextlib
import fcntl
import importlib.util
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from backfleet.object_store import Missing, Trouble, WrongBytes
from backfleet.releases import _store
from backfleet.releases.deltas.choosing import megabytes_needed, unmade, wanted
from backfleet.releases.model import Delta, Release
from backfleet.releases.registry import keep_artifact
from backfleet.releases.repository import Repository
from backfleet.releases.signed_metadata import exists, may_sign, publish
from backfleet.storage import Database, Transaction
from backfleet.values import value_object

SECONDS: Final = 1800  # for one delta
AGAIN: Final = timedelta(days=1)  # after which it is tried again if it failed by what may be over: memory, disk, time
PREFIX: Final = ".delta-"

log = logging.getLogger(__name__)


def run_once(database: Database, repository: Repository, *, now: datetime, megabytes: int) -> bool:
    """Make one delta and sign it; return whether there may be more to make.

    Args:
        megabytes: of memory for it; 0 = no deltas are made.
    """
    if not megabytes or not _has_library():
        return False
    with database.reading() as tx:
        if not exists(tx) or not may_sign(tx, repository, "targets"):
            return False
        pairs = wanted(_store.every_release(tx, None), _store.every_delta(tx), megabytes=megabytes, now=now)
    free = _free_megabytes()
    pairs = [pair for pair in pairs if not free < megabytes_needed(*pair) <= megabytes]  # they wait for memory
    with _alone(repository) as is_alone:
        pair = _first_here(repository, pairs) if is_alone else None
        if pair is None:
            return False
        with _folder(repository) as folder:
            delta, file = _made(repository, *pair, folder, megabytes, now)
            if delta.sha256:
                keep_artifact(repository, file, delta.sha256)
            _add(database, repository, delta, pair, now)
    return True


@value_object
class Outlook:
    """Which deltas are not made, by the names of their releases and bases, each with the megabytes that it takes."""

    has_library: bool
    may_sign: bool
    free: int  # megabytes of memory that the machine can give
    too_large: Mapping[str, int]  # more than delta_megabytes
    waiting: Mapping[str, int]  # more than the machine can give now
    failed: Mapping[str, str]  # with the reason; they are tried again


def outlook(tx: Transaction, repository: Repository, *, megabytes: int) -> Outlook:
    """Return which deltas are not made now, and why.

    Args:
        megabytes: of memory that making one may take.
    """
    known, free = _store.every_delta(tx), _free_megabytes()
    notes = {(one.package, one.version, one.platform, one.base_version): one.note for one in known if not one.is_final}
    too_large, waiting, failed = dict[str, int](), dict[str, int](), dict[str, str]()
    for new, base in unmade(_store.every_release(tx, None), [one for one in known if one.is_final]):
        name, needed = f"{new.package} {new.version} from {base.version} ({new.platform})", megabytes_needed(new, base)
        note = notes.get((new.package, new.version, new.platform, base.version), "")
        if needed > megabytes:
            too_large[name] = needed
        elif needed > free:
            waiting[name] = needed
        elif note:
            failed[name] = note
    may = exists(tx) and may_sign(tx, repository, "targets")
    return Outlook(_has_library(), may, free, too_large, waiting, failed)


def _first_here(repository: Repository, pairs: list[tuple[Release, Release]]) -> tuple[Release, Release] | None:
    """Return the first pair whose artifacts are here, after fetching what only the object store has.

    What it lacks is passed over; while it does not answer, nothing is looked for until the next round.
    """
    for pair in pairs:
        try:
            if repository.stored is not None:
                for release in pair:
                    repository.stored.fetch(release.sha256)
        except (Missing, WrongBytes) as problem:
            log.warning("no delta is made without its artifacts", extra={"problem": str(problem)[:300]})
        except (Trouble, OSError) as problem:
            log.warning("no deltas are made for now", extra={"problem": str(problem)[:300]})
            return None
        else:
            return pair
    return None


def _add(
    database: Database, repository: Repository, delta: Delta, pair: tuple[Release, Release], now: datetime
) -> None:
    """Note a delta and sign it, unless one of its releases has other bytes by now."""
    with database.transaction() as tx:
        _store.lock(tx)
        for release in pair:
            known = _store.release(tx, release.package, release.version, release.platform)
            if known is None or known.sha256 != release.sha256:
                return
        _store.add_delta(tx, delta, now)
        if delta.sha256:
            publish(tx, repository, now=now)


def _made(
    repository: Repository, new: Release, base: Release, folder: Path, megabytes: int, now: datetime
) -> tuple[Delta, Path]:
    """Return a delta and its file, or a note why there is none."""
    names, file = (new.package, new.version, new.platform, base.version), folder / "delta"
    needed = megabytes_needed(new, base)
    if needed > megabytes:
        note = f"making it needs {needed} MB, and delta_megabytes is {megabytes}"
        return Delta(*names, note=note, retry_above=megabytes), file
    asked = {
        "folder": str(folder), "file": str(file), "megabytes": megabytes, "artifact_bytes": new.size,
        "artifacts": [[str(repository.path_of(one.sha256)), one.manifest.to_json()] for one in (base, new)],
    }  # fmt: skip
    try:
        return Delta(*names, **_run(asked)), file
    except _Failed as problem:
        return Delta(*names, note=str(problem)[:300], retry_above=megabytes, retry_at=now + AGAIN), file


class _Failed(Exception):
    """A delta was not made for a reason that may be over another time; the text says which."""


def _has_library() -> bool:
    return importlib.util.find_spec("bsdiff4") is not None


def _free_megabytes() -> int:
    """Return the memory that this machine can give without swapping. Source: proc_meminfo(5), MemAvailable."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(found[1]) >> 10 if found else 0


def _run(asked: dict[str, Any]) -> dict[str, Any]:
    """Return what the process that makes a delta says. Raises _Failed."""
    command = [sys.executable, "-m", "backfleet.releases.deltas"]
    try:
        done = subprocess.run(
            command, input=json.dumps(asked).encode(), capture_output=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise _Failed(f"making it took more than {SECONDS} s") from None
    if done.returncode == 0:
        return dict(json.loads(done.stdout))
    if done.returncode == -signal.SIGKILL:
        raise _Failed("making it was ended by the system: there was not enough memory")
    last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    raise _Failed(f"making it failed: {last}")


@contextlib.contextmanager
def _alone(repository: Repository) -> Iterator[bool]:
    """Lock the folder of artifacts, as one process of a machine makes deltas; yield whether the lock is ours."""
    folder = os.open(repository.path_of(""), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(folder)


@contextlib.contextmanager
def _folder(repository: Repository) -> Iterator[Path]:
    """Yield a folder for what is on the way, on the disk of the artifacts. What a crash left there is removed."""
    artifacts = repository.path_of("").resolve()
    for left in artifacts.glob(f"{PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=artifacts) as folder:
        os.chmod(folder, 0o700)
        yield Path(folder)
