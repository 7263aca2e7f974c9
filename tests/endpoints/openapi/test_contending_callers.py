"""Many callers of one account at its limit: the SDK's own retries bring every one of them through."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from alibabacloud_tea_openapi.client import Client as OpenApi
from alibabacloud_tea_openapi.models import Config, OpenApiRequest, Params
from alibabacloud_tea_util.models import RuntimeOptions
from darabonba.policy.retry import RetryOptions

from backfleet.wire.credentials import Credentials
from endpoints.openapi.server import Server
from sdk_timeouts import SDK_TIMEOUTS

CALLERS, CALLS = 10, 6
ATTEMPTS = 3  # of one call, the first included: what the SDK's own documentation recommends
RETRIES = {
    "retryable": True,
    "retryCondition": [{"maxAttempts": ATTEMPTS, "errorCode": ["Throttling.User"], "maxDelay": 120_000}],
}
ECHO = Params(
    action="Echo", version="2017-09-08", protocol="HTTP", method="POST", auth_type="AK", style="RPC", pathname="/",
    req_body_type="formData", body_type="json",
)  # fmt: skip


def call_repeatedly(server: Server, key: Credentials, name: str) -> None:
    """Make CALLS calls, one right after the other, as a script with the SDK's retries does."""
    config = Config(
        access_key_id=key.access_key_id,
        access_key_secret=key.access_key_secret,
        endpoint=server.host,
        protocol="HTTP",
        region_id="cn-hangzhou",
        retry_options=RetryOptions(RETRIES),
        **SDK_TIMEOUTS,
    )
    client = OpenApi(config)
    for _ in range(CALLS):
        client.call_api(ECHO, OpenApiRequest(query={"Name": name}), RuntimeOptions())


@pytest.mark.parametrize("keys", [1, 10], ids=["with one key", "with a key each"])
@pytest.mark.parametrize(("per_second", "burst"), [(10, 5), (200, 1)], ids=["slow", "fast"])
def test_every_call_of_contending_callers_succeeds(
    start_server: Callable[..., Server], per_second: int, burst: int, keys: int
) -> None:
    """Ten callers, six calls each: none fails, though far more are made than fit into the burst."""
    server = start_server(calls_per_second=per_second, calls_burst=burst)
    own = [server.user(f"user-{number}", "AdministratorAccess") for number in range(keys)]
    with ThreadPoolExecutor(CALLERS) as threads:
        running = [
            threads.submit(call_repeatedly, server, own[number % keys], f"caller {number}") for number in range(CALLERS)
        ]
        failures: list[Any] = [each.exception() for each in running]
    assert failures == [None] * CALLERS
    answered = Counter(asked.name for _, asked in server.seen)
    assert answered == {f"caller {number}": CALLS for number in range(CALLERS)}
