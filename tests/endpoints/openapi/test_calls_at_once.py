"""Calls that come at the same moment share a commit, and each is decided for itself."""

import json
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import sqlalchemy as sa

from backfleet.storage import metadata
from endpoints.openapi.server import Server
from endpoints.openapi.signed_requests import V3, Raw

CALLS, TIMES = 20, 3


def answered(server: Server, request: Raw) -> tuple[int, dict[str, Any]]:
    status, _, body = server.raw(bytes(request))
    return status, json.loads(body)


def trail(server: Server) -> list[str]:
    """Return the code of each call in it; "" if it was let in."""
    with server.services.database.reading() as tx:
        return [row.error_code for row in tx.rows(sa.select(metadata.tables["audit_events"]))]


def test_each_of_many_calls_at_once_is_answered_for_itself(server: Server) -> None:
    """Of those sent thrice one is let in; those of a user without permission are refused; none has two rows."""
    nobody = server.user("nobody")
    allowed = [V3(server, query={"Name": f"n{number}"}).raw() for number in range(CALLS)]
    denied = [V3(server, key=nobody, query={"Name": "denied"}).raw() for _ in range(CALLS)]
    requests = allowed * TIMES + denied
    random.Random(1).shuffle(requests)
    with ThreadPoolExecutor(len(requests)) as threads:
        answers = list(threads.map(lambda request: answered(server, request), requests))
    codes = Counter((status, found.get("Code", "")) for status, found in answers)
    refused = next(code for status, code in codes if status == 403)
    assert codes == {(200, "200"): CALLS, (400, "SignatureNonceUsed"): CALLS * (TIMES - 1), (403, refused): CALLS}
    assert Counter(asked.name for _, asked in server.seen) == {f"n{number}": 1 for number in range(CALLS)}
    assert Counter(trail(server)) == {"": CALLS, refused: CALLS}
