"""Which instances and clients a call names, whichever list they came in: pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from backfleet.operations.hbr.errors import TooManyTargets
from backfleet.wire.errors import InvalidParameter, MissingParameter

INSTANCE_PREFIXES: Final = ("i-", "mi-")
CROSS_ACCOUNT: Final = "CROSS_ACCOUNT"  # of CrossAccountType: the ids are those of another account
CLIENT_PREFIX: Final = "c-"
LONGEST_ID: Final = 64  # characters; ours have 23


@dataclass(frozen=True)
class NamedIds:
    """The ids of a call in request order, each once."""

    ids: tuple[str, ...]

    @cached_property
    def instances(self) -> Sequence[str]:
        """Those that name an instance."""
        return tuple(named for named in self.ids if named.startswith(INSTANCE_PREFIXES))

    @cached_property
    def clients(self) -> Sequence[str]:
        """Those that name a client."""
        return tuple(named for named in self.ids if is_client(named))


def is_client(named: str) -> bool:
    """Return whether an id is a client's; the others are instances'."""
    return named.startswith(CLIENT_PREFIX)


def read_ids(instance_ids: Sequence[str] | None, client_ids: Sequence[str] | None, *, most: int) -> NamedIds:
    """Return the ids of both lists. The prefix decides what an id names: the public page's own examples mix them up.

    Raises:
        TooManyTargets: more than `most`, counted as sent, before duplicates are dropped.
        MissingParameter: no id.
        InvalidParameter: an id with another prefix.
    """
    sent = [*(instance_ids or ()), *(client_ids or ())]
    if len(sent) > most:
        raise TooManyTargets(len(sent), most)
    if not sent:
        raise MissingParameter("InstanceIds or ClientIds")
    for named in sent:
        if not named.startswith((*INSTANCE_PREFIXES, CLIENT_PREFIX)):
            raise InvalidParameter(f"{named!r} names neither an instance (i-..., mi-...) nor a backup client (c-...).")
    return NamedIds(tuple(dict.fromkeys(sent)))
