"""Which artifacts a copy of an installation should have, and how those come that its data folder lacks."""

from collections.abc import Mapping
from pathlib import Path

from backfleet import copies, object_store, releases
from backfleet.opening import stored_artifacts
from backfleet.settings import Settings
from backfleet.storage import Database

__all__ = ["artifacts_of"]

NOT_HERE = "it is not in the data folder, and no setting names an object store (artifacts_url)"


def artifacts_of(settings: Settings, database: Database) -> copies.Artifacts:
    """Return the artifacts of all releases and deltas. Asks the object store for nothing yet.

    Args:
        settings: Those of the server: they name its object store.
        database: Its database.
    """

    def wanted() -> Mapping[str, str]:
        with database.reading() as tx:
            return releases.artifacts_named(tx)

    try:
        stored, reason = stored_artifacts(settings), NOT_HERE
    except object_store.BadPlace as problem:  # keys and rows are copied all the same
        stored, reason = None, str(problem)

    def fetch(sha256: str, to: Path) -> None:
        if stored is None:
            raise copies.CannotFetch(reason, is_away=True)
        try:
            stored.bucket.fetch(sha256, to, stored.most_of_one)
        except (object_store.Missing, object_store.WrongBytes) as problem:
            raise copies.CannotFetch(str(problem)) from None
        except object_store.Trouble as problem:
            raise copies.CannotFetch(str(problem), is_away=True) from None

    return copies.Artifacts(wanted, fetch)
