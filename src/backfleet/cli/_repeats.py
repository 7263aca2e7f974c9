"""Which calls may be made again where it is not known whether the last one was carried out."""

import enum
import uuid
from typing import Final

READS: Final = ("Describe", "Get", "List", "Preview", "Lookup")  # how operations begin that change nothing
STATES: Final = ("Put", "Set", "Note", "Offer", "Withdraw", "Disable")  # and those that lead to the same state again
TAKE_TOKENS: Final = frozenset(
    {
        "CreateCommand", "CreateRollout", "InstallBackupClients", "InvokeCommand", "PrecheckClients",
        "RollBackClients", "RunCommand", "SendFile", "StageClients", "UninstallBackupClients", "UpgradeBackupClients",
    }
)  # fmt: skip
"""Operations with a ClientToken: however often they are called with the same one, they are carried out once."""


class Repeats(enum.Enum):
    """When a call may be made again."""

    ALWAYS = "always"
    IF_NOT_DONE = "where the server says that it did nothing"


def repeats_of(action: str) -> Repeats:
    """Return when a call of this operation may be made again."""
    return Repeats.ALWAYS if action in TAKE_TOKENS or action.startswith(READS + STATES) else Repeats.IF_NOT_DONE


def with_token(action: str, values: dict[str, str]) -> dict[str, str]:
    """Return the values of a call with a ClientToken, where its operation takes one and it has none."""
    return {"ClientToken": uuid.uuid4().hex, **values} if action in TAKE_TOKENS else values


def how_to_find_out(action: str) -> str:
    """Return what to tell people of a call without an answer that may not be made again."""
    return f"it may have been carried out: `backfleet audit --event {action}` shows whether it was"
