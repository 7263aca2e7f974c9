"""What the calls share that move clients by our own operations: which clients, to which version, until when."""

from collections.abc import Callable
from typing import Any, Final

from backfleet.operations.catalogue import Call
from backfleet.operations.hbr.errors import TokenMismatch
from backfleet.operations.hbr.identifiers import LONGEST_ID, read_ids
from backfleet.operations.hbr.lifecycle import ERRORS_OF_ONE, MOST_UPGRADES
from backfleet.operations.hbr.requests import expires_in_seconds, release_version
from backfleet.operations.hbr.selection import Selection
from backfleet.operations.hbr.starting import TaskRequest, start_task
from backfleet.storage import Transaction
from backfleet.upgrades import Kind, TaskTarget
from backfleet.values import value_object
from backfleet.wire.parameters import json_list, text

ERRORS: Final = (TokenMismatch, *ERRORS_OF_ONE)


@value_object
class NamedClients:
    """Clients, and the version that they go to."""

    instance_ids: tuple[str, ...] | None = json_list("InstanceIds", longest_item=LONGEST_ID)
    client_ids: tuple[str, ...] | None = json_list("ClientIds", longest_item=LONGEST_ID)
    release_version: str | None = release_version()
    client_token: str | None = text("ClientToken", longest=64)
    expires_in_seconds: int | None = expires_in_seconds()


def start(
    call: Call, asked: NamedClients, kind: Kind, plan: Callable[[Transaction, Selection], list[TaskTarget]]
) -> dict[str, Any]:
    """Start a task on the named clients; return the answer of the call.

    Raises:
        ApiError: one of ERRORS.
    """
    named = read_ids(asked.instance_ids, asked.client_ids, most=MOST_UPGRADES)
    return start_task(TaskRequest(call, call, kind, named, plan, asked, asked.client_token))
