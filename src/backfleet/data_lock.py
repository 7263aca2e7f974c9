"""The lock by which one server at a time has a data folder. Imports little: the small parent takes it, too."""

from typing import Final

from backfleet.settings import Settings
from backfleet_host.files import hold_lock

LOCK_SECONDS: Final = 2.0  # how long a server that ends may still have the folder


class NotOneInstallation(Exception):
    """What was found must not be used together; the text says what it is and what to do."""


def hold_data_folder(settings: Settings) -> int | None:
    """Take the data folder for a whole server. Return a descriptor that holds it until it is closed.

    A server of some parts, as `only` names them, shares the folder and takes nothing: None.

    Raises:
        NotOneInstallation: another server has it.
        OSError: the lock cannot be written.
    """
    if is_of_parts(settings):
        return None
    held = hold_lock(settings.data / ".serving.lock", seconds=LOCK_SECONDS)
    if held is None:
        raise NotOneInstallation(
            f"another `backfleet serve` has the data folder {settings.data}. Stop it, or give this one a --data of its "
            "own, or name its parts with --only if both use one PostgreSQL"
        )
    return held


def is_of_parts(settings: Settings) -> bool:
    """Return whether somebody chose the parts that this process serves."""
    return settings.origin.get("only", "default") != "default"
