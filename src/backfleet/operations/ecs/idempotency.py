"""Do the same call once: what a ClientToken means in ECS."""

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

TRIES = 3  # of a transaction that another one got in the way of
Effect = Callable[[Transaction], dict[str, str]]


def do_once(call: Call, action: str, asked: Any, effect: Effect) -> dict[str, str]:
    """Run an effect and remember its answer under the call's ClientToken, or return the answer remembered there.

    Raises:
        IdempotentMismatch: the token came before, with other parameters.
        OperationConflict: calls with the same token got in the way TRIES times.
    """
    for _ in range(TRIES):
        try:
            with call.services.database.transaction() as tx:
                return _do_once(tx, call, action, asked, effect)
        except Conflict:
            continue
    raise OperationConflict("Another call with the same ClientToken is running. Send the request again.")


def _do_once(tx: Transaction, call: Call, action: str, asked: Any, effect: Effect) -> dict[str, str]:
    token: str | None = asked.client_token
    if not token:
        return effect(tx)
    fingerprint = _fingerprint(action, asked)
    try:
        known = assistant.answered_before(tx, call.account_id, token, fingerprint, now=call.now)
    except assistant.TokenReused:
        raise IdempotentMismatch from None
    if known is not None:
        return known
    answer = effect(tx)
    assistant.remember_answer(tx, call.account_id, token, fingerprint, answer, now=call.now)
    return answer


def _fingerprint(action: str, asked: Any) -> str:
    """Return a digest of a request. It is stored, so the names of request fields must not change."""
    values = {name: value for name, value in asdict(asked).items() if name != "client_token"}
    return hashlib.sha256(json.dumps([action, values], sort_keys=True).encode()).hexdigest()
