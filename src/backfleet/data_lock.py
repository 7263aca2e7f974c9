"""The lock by which one server at a time has a data folder. Imports little: the small parent takes it, too."""

from typing import Final

from backfleet.settings import Settings
from backfleet_host.files import hold_lock, is_locked

LOCK_SECONDS: Final = 2.0  # how long a server that ends may still have the folder
SERVING_LOCK: Final = ".serving.lock"


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
    held = hold_lock(settings.data / SERVING_LOCK, seconds=LOCK_SECONDS)
    if held is None:
        raise NotOneInstallation(_in_use(settings))
    return held


def why_in_use(settings: Settings) -> str:
    """Return what to say if another whole server has the data folder, "" if none has. Takes nothing."""
    is_taken = not is_of_parts(settings) and is_locked(settings.data / SERVING_LOCK)
    return _in_use(settings) if is_taken else ""


def _in_use(settings: Settings) -> str:
    return (
        f"another `backfleet serve` has the data folder {settings.data}. Stop it, or give this one a --data of its "
        "own, or name its parts with --only if both use one PostgreSQL"
    )


def is_of_parts(settings: Settings) -> bool:
    """Return whether somebody chose the parts that this process serves."""
    return settings.origin.get("only", "default") != "default"
