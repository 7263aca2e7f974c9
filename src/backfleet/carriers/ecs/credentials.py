"""From a cloud account to a client of its API: credentials, the role that they take on, the endpoint, its authority."""

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from alibabacloud_credentials.client import Client as Credential
from alibabacloud_credentials.models import Config as CredentialConfig
from alibabacloud_credentials.provider import CLIProfileCredentialsProvider
from alibabacloud_tea_openapi.client import Client as AnyClient
from alibabacloud_tea_openapi.models import Config, OpenApiRequest, Params

from backfleet.carriers.ecs.cloud import CONNECT_MS, ECS, READ_MS, Cloud, calling, runtime
from backfleet.carriers.ecs.model import EcsAccount, Source
from backfleet.carriers.ecs.permits import Permits, none_found
from backfleet.carriers.ecs.problems import bad_answer
from backfleet.carriers.ecs.sessions import SESSION, SESSION_SECONDS
from backfleet.outbound import Destinations

STS: Final = "sts.aliyuncs.com"
MOST_KEPT: Final = 200


class Clouds:
    """Makes clients of cloud accounts, and keeps their sessions while these last."""

    def __init__(self, allowed: Destinations, open_secret: Callable[[str], str], may_use_own: Callable[[str], bool]):
        """Begin with no session. See `Permits`."""
        self._permits = Permits(allowed, open_secret, may_use_own)
        self._lock = threading.Lock()
        self._authorities: dict[str, int] = {}  # the text -> the descriptor of a file with it

    def open(
        self, account: EcsAccount, region: str, now: datetime, before_call: Callable[[], None] = lambda: None
    ) -> Cloud:
        """Return a client of one region. Raises EcsProblem."""
        common = self._common(account, region)
        if account.role_arn:
            plain = dict(common)
            common |= self._permits.roles.of(account, now, lambda: self._assumed(account, plain))
        else:
            common |= self._own(account)
        config = Config(**common, **({"endpoint": account.endpoint} if account.endpoint else {}))
        made = Cloud(region, config, before_call)
        self._permits.check_place(account, f"https://{made.endpoint}/")
        return made

    def _common(self, account: EcsAccount, region: str) -> dict[str, Any]:
        found: dict[str, Any] = {
            "region_id": region, "protocol": "https", "connect_timeout": CONNECT_MS, "read_timeout": READ_MS,
        }  # fmt: skip
        return found | ({"ca": self._authority_file(account.authority)} if account.authority else {})

    def _own(self, account: EcsAccount) -> dict[str, Any]:
        """Return the credentials of an account, without a role."""
        if account.source is Source.KEY:
            secret = self._permits.opened(account, account.sealed)
            return {"access_key_id": account.key_id, "access_key_secret": secret}
        self._permits.check_own(account)
        try:
            if account.source is Source.PROFILE:
                found = Credential(provider=CLIProfileCredentialsProvider(profile_name=account.source_name))
            elif account.source is Source.MACHINE_ROLE:
                found = Credential(CredentialConfig(type="ecs_ram_role", role_name=account.source_name or None))
            else:
                found = Credential()
            found.get_credential()
        except Exception as problem:  # noqa: BLE001 - each provider of the SDK raises its own kinds
            raise none_found(account, problem) from None
        return {"credential": found}

    def _assumed(self, account: EcsAccount, common: dict[str, Any]) -> tuple[dict[str, str], datetime]:
        """Take on the account's role. Return the credentials, and when they end."""
        endpoint = account.sts_endpoint or STS
        self._permits.check_place(account, f"https://{endpoint}/")
        client = AnyClient(Config(**common, **self._own(account), endpoint=endpoint))
        return _assume(client, account.role_arn, self._permits.opened(account, account.external_id))

    def _authority_file(self, authority: str) -> str:
        """Return a file with this text, for the SDK reads authorities from files only: in memory, and gone with us."""
        with self._lock:
            known = self._authorities.get(authority)
            if known is None:
                while len(self._authorities) >= MOST_KEPT:
                    os.close(self._authorities.pop(next(iter(self._authorities))))
                known = self._authorities[authority] = os.memfd_create("backfleet-authority")
                os.write(known, authority.encode())
            return f"/proc/self/fd/{known}"


def _assume(client: AnyClient, role_arn: str, external_id: str) -> tuple[dict[str, str], datetime]:
    """Take on a role. Return the credentials, and when they end."""
    query = {"RoleArn": role_arn, "RoleSessionName": SESSION, "DurationSeconds": str(SESSION_SECONDS)}
    if external_id:
        query["ExternalId"] = external_id
    params = Params(
        action="AssumeRole", version="2015-04-01", protocol="HTTPS", pathname="/", method="POST", auth_type="AK",
        style="RPC", req_body_type="formData", body_type="json",
    )  # fmt: skip
    answer = calling("sts:AssumeRole", lambda: client.call_api(params, OpenApiRequest(query=query), runtime()))
    try:
        given = answer["body"]["Credentials"]
        until = datetime.strptime(given["Expiration"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        found = {
            "access_key_id": str(given["AccessKeyId"]),
            "access_key_secret": str(given["AccessKeySecret"]),
            "security_token": str(given["SecurityToken"]),
        }
    except (KeyError, TypeError, ValueError):
        raise bad_answer(ECS, "sts:AssumeRole", "no credentials") from None
    return found, until
