"""From an account of AWS to a client of its API: credentials, the role that they take on, the endpoint."""

import os
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError
from botocore.session import Session

from backfleet.carriers.ecs.model import NOT_ALLOWED, EcsAccount, EcsProblem, Source, Trouble
from backfleet.carriers.ecs.permits import Permits, none_found
from backfleet.carriers.ecs.problems import bad_answer
from backfleet.carriers.ecs.sessions import SESSION, SESSION_SECONDS
from backfleet.carriers.ssm.api import SSM, Systems, calling
from backfleet.carriers.ssm.problems import named
from backfleet.carriers.ssm.transport import sender
from backfleet.outbound import Destinations

MOST_KEPT: Final = 50
_METADATA: Final = ("container-role", "iam-role")  # providers that ask addresses of the machine
_NOTHING_FOUND: Final[dict[str, Any]] = {
    name: (None, None, os.devnull if name.endswith("_file") else None, None)
    for name in ("profile", "region", "config_file", "credentials_file", "ca_bundle")
}
"""For a session that reads neither files nor the environment."""


class Clouds:
    """Makes clients of accounts of AWS, and keeps their sessions while these last."""

    def __init__(self, allowed: Destinations, open_secret: Callable[[str], str], may_use_own: Callable[[str], bool]):
        """Begin with no session. See `Permits`."""
        self._permits = Permits(allowed, open_secret, may_use_own)
        self._plain = Session(_NOTHING_FOUND)
        self._own: dict[tuple[Source, str], Any] = {}  # the SDK's, which fetches new ones before these expire
        self._lock = threading.Lock()  # making clients is not for two threads at once

    def open(
        self, account: EcsAccount, region: str, now: datetime, before_call: Callable[[], None] = lambda: None
    ) -> Systems:
        """Return a client of one region. Raises EcsProblem."""
        keys = self._keys(account)
        if account.role_arn:
            keys = self._permits.roles.of(account, now, lambda: self._assumed(account, region, keys))
        endpoint = account.endpoint
        ssm, ec2 = (self._client(account, region, service, endpoint, keys) for service in ("ssm", "ec2"))
        return Systems(ssm, ec2, before_call)

    def _client(self, account: EcsAccount, region: str, service: str, endpoint: str, keys: dict[str, str]) -> Any:
        config = Config(
            retries={"total_max_attempts": 1, "mode": "standard"}, ignore_configured_endpoint_urls=True,
            use_fips_endpoint=False, use_dualstack_endpoint=False, proxies={},
        )  # fmt: skip
        try:
            with self._lock:
                made = self._plain.create_client(
                    service, region_name=region, endpoint_url=f"https://{endpoint}" if endpoint else None,
                    config=config, **keys,
                )  # fmt: skip
            made.meta.events.register("before-send", sender(self._permits.allowed, account.authority))
        except (BotoCoreError, ValueError, OSError) as problem:
            raise EcsProblem(named(NOT_ALLOWED), f"no client can be made: {problem}"[:300], Trouble.ACCOUNT) from None
        self._permits.check_place(account, str(made.meta.endpoint_url))
        return made

    def _keys(self, account: EcsAccount) -> dict[str, str]:
        """Return the credentials of an account, without a role."""
        if account.source is Source.KEY:
            return {
                "aws_access_key_id": account.key_id,
                "aws_secret_access_key": self._permits.opened(account, account.sealed),
            }
        self._permits.check_own(account)
        try:
            with self._lock:
                name = (account.source, account.source_name)
                if name not in self._own:
                    while len(self._own) >= MOST_KEPT:
                        self._own.pop(next(iter(self._own)))
                    self._own[name] = _found(account)
                found = self._own[name].get_frozen_credentials()
        except Exception as problem:  # noqa: BLE001 - each provider of the SDK raises its own kinds
            raise none_found(account, problem) from None
        token = {"aws_session_token": found.token} if found.token else {}
        return {"aws_access_key_id": found.access_key, "aws_secret_access_key": found.secret_key, **token}

    def _assumed(self, account: EcsAccount, region: str, keys: dict[str, str]) -> tuple[dict[str, str], datetime]:
        """Take on the account's role. Return the credentials, and when they end."""
        sts = self._client(account, region, "sts", account.sts_endpoint, keys)
        external_id = self._permits.opened(account, account.external_id)
        asked = {"ExternalId": external_id} if external_id else {}
        answer = calling("sts:AssumeRole", lambda: sts.assume_role(
            RoleArn=account.role_arn, RoleSessionName=SESSION, DurationSeconds=SESSION_SECONDS, **asked
        ))  # fmt: skip
        try:
            given = answer["Credentials"]
            keys = {
                "aws_access_key_id": str(given["AccessKeyId"]),
                "aws_secret_access_key": str(given["SecretAccessKey"]),
                "aws_session_token": str(given["SessionToken"]),
            }
            return keys, given["Expiration"]
        except (KeyError, TypeError):
            raise bad_answer(SSM, "sts:AssumeRole", "no credentials") from None


def _found(account: EcsAccount) -> Credentials:
    """Return what the SDK finds where the server runs. Only the role of the machine is asked for at an address."""
    session = Session(profile=account.source_name if account.source is Source.PROFILE else None)
    resolver = session.get_component("credential_provider")
    asks_machine = account.source is Source.MACHINE_ROLE
    for provider in list(resolver.providers):
        if (provider.METHOD in _METADATA) is not asks_machine:
            resolver.providers.remove(provider)
    found = resolver.load_credentials()
    if found is None:
        raise LookupError("the machine has no role" if asks_machine else "neither the environment nor files have any")
    return found
