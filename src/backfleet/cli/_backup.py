"""backfleet backup and restore: the whole installation in one file, and back. Both work on this machine's files."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backfleet import VERSION
from backfleet.cli._options import fail, json_option
from backfleet.cli._print import moment, print_json, say, size
from backfleet.cli._secrets import lock_of, opener_of, passphrase_options
from backfleet.clock import utc_now
from backfleet.settings import BadSetting, Settings, read_settings

if TYPE_CHECKING:
    from backfleet import copies
    from backfleet.restoring import Restored
    from backfleet.storage import Database


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--data", metavar="DIR", type=click.Path(path_type=Path), help="The data folder.")
@click.option("--database-url", metavar="URL", help="postgresql://... Default: SQLite in DIR.")
@passphrase_options
@click.option("--recipient", "recipients", metavar="age1...", multiple=True, help="Encrypt to this key of age.")
@click.option("--without-artifacts", is_flag=True, help="Leave them out: the object store has backups of its own.")
@click.option("--plain", is_flag=True, help="Do not encrypt. The file holds every key of the server.")
@json_option
def backup(
    file: Path,
    data: Path | None,
    database_url: str | None,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
    recipients: tuple[str, ...],
    without_artifacts: bool,
    plain: bool,
    as_json: bool,
) -> None:
    """Copy the whole installation into the new FILE: database, keys, certificates and artifacts.

    The server may be running. Artifacts that only its object store has are fetched. The file is encrypted, and `age -d
    FILE | tar x` opens it, too. Exits with 1 if the file could not be written, or if it lacks artifacts.
    """
    from backfleet import copies, installation  # imported late: the list of all commands needs none of it
    from backfleet.copying import artifacts_of
    from backfleet.storage import open_database

    settings = _settings(data, database_url)
    missing = installation.missing_keys(settings.data)
    if missing:
        fail(f"{settings.data} is no data folder of a server: {missing[0]} is missing; see --data")
    lock = lock_of(passphrase_file, passphrase_fd, recipients, plain=plain)
    database = open_database(settings.database)
    try:
        now, artifacts = utc_now(), None if without_artifacts else artifacts_of(settings, database)
        written = copies.write_copy(settings.data, database, file, lock, artifacts, now=now, version=VERSION)
        _note(database, now, written, without_artifacts)
    except copies.CannotCopy as problem:
        fail(str(problem))
    finally:
        database.close()
    _print_written(file, written, is_plain=lock is None, as_json=as_json)
    _fail_if_not_whole(file, written)


def _fail_if_not_whole(file: Path, written: "copies.Written") -> None:
    if written.damaged:
        names = ", ".join(written.damaged)
        fail(f"{file} was written without {names}: damaged on this disk. Add that release's file again under artifacts")
    if written.missing:
        what, why = next(iter(written.missing.items()))
        more = f" and {len(written.missing) - 1} more" if len(written.missing) > 1 else ""
        fail(f"{file} has keys and database, and lacks the artifacts of {what}{more}: {why}")


def _print_written(file: Path, written: "copies.Written", *, is_plain: bool, as_json: bool) -> None:
    if not as_json:
        plain = ", PLAIN" if is_plain else ""
        fetched = f" ({written.fetched} from the object store)" if written.fetched else ""
        say(f"{file}: {size(written.bytes)}, {written.rows} rows, {written.artifacts} artifacts{fetched}{plain}")
        return
    facts = {"File": str(file), "Bytes": written.bytes, "Rows": written.rows, "Artifacts": written.artifacts}
    lacking = {"Damaged": list(written.damaged), "Missing": list(written.missing)}
    print_json({**facts, "Fetched": written.fetched, "IsPlain": is_plain, **lacking})


def _note(database: "Database", made_at: datetime, written: "copies.Written", without_artifacts: bool) -> None:
    """Have `backfleet doctor` know of the copy. The file is whole whether or not that succeeds."""
    from sqlalchemy.exc import SQLAlchemyError

    from backfleet import copies
    from backfleet.storage import Unavailable

    try:
        with database.transaction() as tx:
            lacking = None if without_artifacts else len(written.damaged) + len(written.missing)
            copies.note_copy(tx, made_at=made_at, size=written.bytes, lacking=lacking)
    except (Unavailable, SQLAlchemyError) as problem:
        reason = str(problem).strip().splitlines()[0]
        say(f"the backup is complete, but `backfleet doctor` does not know of it: {reason}", err=True)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--data", metavar="DIR", type=click.Path(path_type=Path), help="An empty folder.")
@click.option("--database-url", metavar="URL", help="postgresql://..., an empty one. Default: SQLite in DIR.")
@passphrase_options
@click.option("--identity", metavar="KEYS", type=click.Path(path_type=Path), help="A file with private keys of age.")
@json_option
def restore(
    file: Path,
    data: Path | None,
    database_url: str | None,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
    identity: Path | None,
    as_json: bool,
) -> None:
    """Bring the backup FILE back into an empty installation. Start the server afterwards.

    It is held then: it asks hosts what they have, and moves nothing until `backfleet server release-hold`.
    """
    from backfleet import copies  # imported late, as above
    from backfleet.restoring import restore as run

    settings = _settings(data, database_url)
    try:
        with file.open("rb") as opened:
            is_encrypted = copies.is_encrypted(opened.read(64))
    except OSError as problem:
        fail(f"{file} cannot be read: {problem.strerror}")
    opener = opener_of(passphrase_file, passphrase_fd, identity, is_encrypted=is_encrypted)
    try:
        found = run(settings, file, opener, now=utc_now())
    except copies.CannotRestore as problem:
        fail(str(problem))
    if as_json:
        print_json(_as_dict(found, settings.data))
    else:
        _print_restored(found, settings.data)


def _as_dict(found: "Restored", data: Path) -> dict[str, Any]:
    return {
        "DataFolder": str(data),
        "CopiedTime": int(found.facts.moment.timestamp()),
        "Rows": found.rows,
        "Artifacts": found.artifacts,
        "Damaged": list(found.damaged),
        "Missing": list(found.missing),
        "EndedTasks": found.ended_tasks,
        "NeedsSignature": found.needs_signature,
        "IsHeld": True,
    }


def _print_restored(found: "Restored", data: Path) -> None:
    made = moment(found.facts.moment.timestamp())
    say(f"{data}: as of {made}, {found.rows} rows, {found.artifacts} artifacts")
    if found.ended_tasks:
        say(f"{found.ended_tasks} task(s) were under way then, and have ended as expired")
    for name in found.damaged:
        say(f"artifact {name} was damaged before the backup: put its file under artifacts, or withdraw its release")
    if found.missing:
        names = ", ".join(found.missing[:5]) + (f" and {len(found.missing) - 5} more" if len(found.missing) > 5 else "")
        say(f"the artifacts of {names} are not here: set artifacts_url if a bucket has them, or add these files again")
    if found.needs_signature:
        say("hosts may have seen newer releases: `backfleet release pending`, sign targets.json, `release publish`")
    say("Start the server. Nothing is moved until you have looked, and run `backfleet server release-hold`")


def _settings(data: Path | None, database_url: str | None) -> Settings:
    try:
        return read_settings({"data": data, "database_url": database_url})
    except BadSetting as problem:
        fail(str(problem))
