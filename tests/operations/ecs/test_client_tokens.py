"""ClientTokens of ECS: the stored digest of a request must not change with the code."""

from typing import Any

import pytest

from backfleet.operations.catalogue import ECS, find
from backfleet.operations.ecs.idempotency import _fingerprint
from backfleet.wire.parameters import parse

RUN = {
    "RegionId": "cn-hangzhou", "Type": "RunShellScript", "CommandContent": "true", "InstanceId.1": "i-1",
    "Tag.1.Key": "team", "ResourceTag.1.Key": "a", "ClientToken": "t",
}  # fmt: skip
CREATE = {"RegionId": "cn-hangzhou", "Name": "a", "Type": "RunShellScript", "CommandContent": "dHJ1ZQ=="}
INVOKE = {"RegionId": "cn-hangzhou", "CommandId": "c-1", "InstanceId.1": "i-1", "Parameters": '{"a":"b"}'}
SEND = {"RegionId": "cn-hangzhou", "Name": "a", "TargetDir": "/srv", "Content": "x", "InstanceId.1": "i-1"}


@pytest.mark.parametrize(
    ("action", "fields", "digest"),
    [
        ("RunCommand", RUN, "82eedba6c296decd7410e86da09fd1c9b6bc14a6c718a83751ce8b21118b1e72"),
        ("CreateCommand", CREATE, "5468a58f7c5cf5395bb7e2adf5b9f6bde4cc92d1ab08cc509021b472519b501d"),
        ("InvokeCommand", INVOKE, "459224e0a103567e11a7eb38ee3a1e339fcd956855589298d3fb2ba165dab419"),
        ("SendFile", SEND, "10e09ec23d78013356d47254962c0e886b592b3a5339cb5f2589c8c13c09665b"),
    ],
)
def test_the_digest_of_a_request_stays(action: str, fields: dict[str, str], digest: str) -> None:
    """Otherwise a call that is repeated after an update of the server would be refused."""
    request: Any = parse(find(ECS.version, action).request, fields)
    assert _fingerprint(action, request) == digest
