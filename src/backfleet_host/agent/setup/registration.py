"""The registration of a host: one request that spends an activation (protocol page, section 3.2)."""

from __future__ import annotations

import base64
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional

from backfleet_host import VERSION
from backfleet_host.agent import machine
from backfleet_host.agent.protocol.address import Address
from backfleet_host.agent.protocol.server import Server, Unreachable
from backfleet_host.agent.protocol.signing import SigningKey, public_pem
from backfleet_host.agent.setup.enrolment_errors import CannotEnrol, EnrolmentRefused
from backfleet_host.contract import OWN_AGENT
from backfleet_host.platforms import platform_here

REGISTER_SECONDS = 15.0
LONGEST_REASON = 300  # characters of the server's reason that are shown


@dataclass(frozen=True)
class EnrolmentOptions:
    """What the command line asks for. Prints without the activation code."""

    server: Address
    authority: Path  # the file with the server's certificate authority
    activation_id: str
    code: str
    name: str = ""
    release_root: Optional[Path] = None  # a file that came by another way; None = fetch it from the server
    new_identity: bool = False  # also if the host is enrolled: it was copied from another one

    def __repr__(self) -> str:
        return f"EnrolmentOptions({self.server}, {self.activation_id})"


@dataclass(frozen=True)
class Registration:
    """What the server knows the host by."""

    instance_id: str
    machine_id: str


def register(server: Server, options: EnrolmentOptions, key: SigningKey, mode: str) -> Registration:
    """Register this host. Done again with the same key, it returns the same instance and spends nothing.

    Raises:
        CannotEnrol: there was no answer that says whether the host is registered.
        EnrolmentRefused: the server refused.
    """
    body = registration_fields(options, key, mode)
    try:
        answer = server.post(
            "/luban/api/instance/register",
            json.dumps(body).encode(),
            content_type="application/json; charset=utf-8",
            seconds=REGISTER_SECONDS,
        )
    except Unreachable as problem:
        raise CannotEnrol(
            f"{problem}; run the same command again: the host keeps its key and is registered only once"
        ) from None
    fields = _object(answer.body)
    instance_id = fields.get("instanceId")
    if answer.status == 200 and fields.get("code") == 200 and isinstance(instance_id, str) and instance_id:
        return Registration(instance_id, body["machineId"])
    if answer.status >= 500:
        raise CannotEnrol(
            f"{server.address} failed with status {answer.status}; run the same command again in a few minutes"
        )
    raise EnrolmentRefused(f"the server refuses this enrolment: {_reason(answer.status, fields)}")


def registration_fields(options: EnrolmentOptions, key: SigningKey, mode: str) -> Dict[str, Any]:
    """Return what the host tells the server: the official fields, and two of ours, `agentMode` and `platform`."""
    return {
        "activationCode": options.code,
        "activationId": options.activation_id,
        "machineId": machine.machine_id(),
        "regionId": "",
        "instanceName": options.name,
        "hostname": socket.gethostname(),
        "intranetIp": machine.address_towards(options.server.host, options.server.port),
        "osVersion": machine.os_version(),
        "osType": "linux",
        "agentVersion": f"{OWN_AGENT}{VERSION}",
        "publicKey": base64.b64encode(public_pem(key)).decode(),
        "tag": [],
        "agentMode": mode,
        "platform": platform_here(),
    }


def _object(body: bytes) -> Dict[str, Any]:
    try:
        fields = json.loads(body)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _reason(status: int, fields: Dict[str, Any]) -> str:
    names = ("errMsg", "message", "Message", "errCode")
    given = next((str(fields[name]) for name in names if fields.get(name)), "")
    reason = given[:LONGEST_REASON] or f"status {status}, code {fields.get('code')}"
    return f"{reason}; check --activation-id and --activation-code, or create a new one: `backfleet activation create`"
