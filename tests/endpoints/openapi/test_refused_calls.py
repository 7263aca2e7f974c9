"""What a key without any permission leaves in the audit trail."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from backfleet.operations.audit_event import MOST_OF_REFUSED
from backfleet.operations.catalogue import BACKFLEET, HBR, Product
from backfleet.operations.refusals import COUNTED, WHILE
from backfleet.wire.credentials import Credentials
from endpoints.openapi.server import Server
from endpoints.openapi.signed_requests import V3


def ask(server: Server, key: Credentials, product: Product, action: str, **query: str) -> tuple[int, dict[str, Any]]:
    status, _headers, body = server.raw(bytes(V3(server, action, product.version, key=key, query=query).raw()))
    return status, json.loads(body)


def trail(server: Server) -> list[dict[str, Any]]:
    _, found = ask(server, server.root, BACKFLEET, "LookupEvents", MaxResults="50")
    return [event for event in found["Events"] if event["eventName"] != "LookupEvents"]


def test_a_key_without_permission_does_not_fill_the_trail(start_server: Callable[..., Server]) -> None:
    """Five of twenty calls have rows, with ten ids of a hundred; its first call after the while counts the others."""
    server = start_server(refusals_recorded=5)
    nobody = server.user("nobody")
    instances = json.dumps([f"mi-{number:020d}" for number in range(100)])
    for _ in range(20):
        status, found = ask(server, nobody, HBR, "UpgradeBackupClients", InstanceIds=instances)
        assert (status, found["Code"]) == (403, "NoPermission")
    events = trail(server)
    assert [event["errorCode"] for event in events] == ["NoPermission"] * 5
    assert all(len(event["requestParameters"]) <= MOST_OF_REFUSED for event in events)
    assert sum(len(json.dumps(event)) for event in events) < 5 * 2500

    server.clock.stopped_at = server.clock() + WHILE + timedelta(seconds=1)
    ask(server, nobody, HBR, "UpgradeBackupClients", InstanceIds=instances)
    assert trail(server)[0]["requestParameters"][COUNTED] == "15"
    server.clock.stopped_at += timedelta(seconds=1)  # rows of one moment have no order
    assert ask(server, nobody, HBR, "UpgradeBackupClients", InstanceIds=instances)[0] == 403
    assert COUNTED not in trail(server)[0]["requestParameters"]


def test_every_call_that_is_allowed_has_its_row(start_server: Callable[..., Server]) -> None:
    """However many of the same key were refused before."""
    server = start_server(refusals_recorded=1)
    somebody = server.user("somebody", "AliyunHBRReadOnlyAccess")
    for _ in range(3):
        assert ask(server, somebody, HBR, "UpgradeBackupClients", InstanceIds='["mi-1"]')[0] == 403
        assert ask(server, somebody, HBR, "DescribeBackupClients", ClientType="ECS_CLIENT")[0] == 200
    assert [event["eventName"] for event in trail(server)].count("DescribeBackupClients") == 3
