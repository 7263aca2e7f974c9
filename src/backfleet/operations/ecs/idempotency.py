"""The same call twice is one: what a ClientToken means."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from backfleet import assistant
from backfleet.operations.catalogue import Call
from backfleet.operations.ecs.errors import IdempotentMismatch
from backfleet.storage import Conflict, Transaction
from backfleet.wire.errors import OperationConflict

TRIES = 3  # of a transaction that lost a race
Deed = Callable[[Transaction], dict[str, str]]


def once(call: Call, action: str, asked: Any, deed: Deed) -> dict[str, str]:
    """Do it and remember the answer under the call's ClientToken; or give the answer that is remembered.

    Raises:
        IdempotentMismatch: the token came with other parameters before.
        OperationConflict: others won the race for it TRIES times.
    """
    for _ in range(TRIES):
        try:
            with call.services.database.transaction() as tx:
                return _once(tx, call, action, asked, deed)
        except Conflict:
            continue
    raise OperationConflict("The same call is being made elsewhere. Ask again.")


def _once(tx: Transaction, call: Call, action: str, asked: Any, deed: Deed) -> dict[str, str]:
    token: str | None = asked.client_token
    if not token:
        return deed(tx)
    fingerprint = _fingerprint(action, asked)
    try:
        known = assistant.answered_before(tx, call.account_id, token, fingerprint, now=call.now)
    except assistant.TokenReused:
        raise IdempotentMismatch from None
    if known is not None:
        return known
    answer = deed(tx)
    assistant.remember_answer(tx, call.account_id, token, fingerprint, answer, now=call.now)
    return answer


def _fingerprint(action: str, asked: Any) -> str:
    said = {name: value for name, value in asdict(asked).items() if name != "client_token"}
    return hashlib.sha256(json.dumps([action, said], sort_keys=True).encode()).hexdigest()
