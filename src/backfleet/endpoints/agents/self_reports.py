"""What agents report by themselves: facts about their hosts, inventories, and troubles.

Source: agent wire protocol, sections 11 and 12. An agent collects an inventory by a state configuration: each host gets
the same one, which asks for packages, network and system twice a day.
"""

import json
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from aiohttp import web
from prometheus_client import Counter

from backfleet import fleet
from backfleet.endpoints.agents.authentication import Authenticator
from backfleet.endpoints.agents.node import Node, read_body
from backfleet.endpoints.agents.signatures import AgentSignature
from backfleet.endpoints.agents.signed import PlainHandler, SignedHandler
from backfleet.fleet import InventoryItem, InventoryMissing, InventoryRefused
from backfleet.short_answers import Answer
from backfleet.storage import Transaction
from backfleet_host.texts import printable

INTERVAL_SECONDS: Final = 1800  # the agent's own; another would only restart its timer
SCHEDULE: Final = "12 hours"
NOT_SUPPORTED: Final = {"errCode": "ServiceNotSupported", "errMsg": "no"}  # the quietest answer
TEMPLATE, TEMPLATE_VERSION = "Backfleet-Inventory", "v1"
FACTS = "Backfleet:Host"  # the kind of inventory for the facts that a host sends with its request
LONGEST_NOTE = 300  # characters of an agent's exception report that are logged

Store = Callable[[Transaction, str, bytes, datetime], dict[str, Any]]
"""Stores what an instance (its id) sent (the body) at a time; returns the answer."""

EVENTS = Counter("backfleet_assist_agent_events_total", "What agents reported of themselves, by kind.", ["kind"])
_KNOWN_EVENTS: Final = frozenset({
    "agent.startup", "agent.kdump", "agent.update.failed", "agent.channel.failed", "agent.channel.switch",
    "agent.task.failed", "agent.session.failed", "agent.pref.mem.overload", "switch_channel_in_wsk",
    "switch_channel_in_timer", "switch_channel_in_gshell", "AgentPanic", "self_kill", "high_cpu", "init_cgroup",
})  # fmt: skip
_SEVERE: Final = frozenset({"self_kill", "AgentPanic", "high_cpu"})

_CONTENT: Final = {
    "FormatVersion": "OOS-2019-06-01-State",
    "Parameters": {},
    "States": [
        {
            "ResourceType": "ACS:Inventory",
            "Properties": {
                "Policy": {
                    kind: {"Collection": "Enabled"}
                    for kind in ("ACS:Application", "ACS:Network", "ACS:InstanceDetailedInformation")
                }
            },
        }
    ],
}

log = logging.getLogger(__name__)


def state_configurations(tx: Transaction, instance_id: str, body: bytes, now: datetime) -> dict[str, Any]:
    """Store the host's facts and answer the one state configuration."""
    sent = _object(body)
    facts = {
        name: value[:255].replace("\0", "")
        for name in ("agentName", "agentVersion", "computerName", "ipAddress", "platformName", "platformType",
                     "platformVersion", "ramRole")
        if isinstance(value := sent.get(name), str)
    }  # fmt: skip
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    if facts:
        fleet.put_inventory(tx, instance_id, [InventoryItem(FACTS, "", stamp, [facts])], now=now)
    configuration = {
        "StateConfigurationId": "sc-backfleet-inventory",
        "TemplateName": TEMPLATE,
        "TemplateVersion": TEMPLATE_VERSION,
        "Parameters": "",
        "ConfigureMode": "ApplyOnly",
        "ScheduleType": "rate",
        "ScheduleExpression": SCHEDULE,
        "SuccessfulApplyTime": "",
        "DefinitionUpdateTime": "2026-01-01T00:00:00Z",
    }
    # Always in full: `Changed: false` makes an agent without a cache crash.
    return _success(Interval=INTERVAL_SECONDS, Changed=True, Checkpoint=stamp, StateConfigurations=[configuration])


def template(_tx: Transaction, _instance_id: str, body: bytes, _now: datetime) -> dict[str, Any]:
    """Answer the content of the configuration's template. The agent keeps it for ever, by name and version."""
    sent = _object(body)
    if (sent.get("templateName"), sent.get("templateVersion")) != (TEMPLATE, TEMPLATE_VERSION):
        return {"errCode": "TemplateNotFound", "errMsg": "there is no such template"}
    return {"result": {"Content": json.dumps(_CONTENT)}}


def inventory(tx: Transaction, instance_id: str, body: bytes, now: datetime) -> dict[str, Any]:
    """Store an inventory. If a host says "unchanged" about one that is not stored, ask it for all of it."""
    try:
        fleet.put_inventory(tx, instance_id, fleet.read_inventory(_object(body).get("items")), now=now)
    except InventoryMissing:
        return {"errCode": "400", "errMsg": "Inventory.ItemContentMismatch"}
    except InventoryRefused as refusal:
        log.warning("an inventory was refused", extra={"instance": instance_id, "reason": printable(str(refusal))})
        return {"errCode": "InvalidInventory", "errMsg": str(refusal)}
    return {"errCode": "", **_success()}


def state_report(_tx: Transaction, instance_id: str, body: bytes, _now: datetime) -> dict[str, Any]:
    """Log a host that could not collect its inventory."""
    status = _object(body).get("status")
    if status not in ("Compliant", "NotCompliant"):
        facts = {"instance": instance_id, "status": printable(str(status)[:40])}
        log.warning("a host could not collect its inventory", extra=facts)
    return {"errCode": "", **_success()}


ENDPOINTS: Final[Mapping[str, Store]] = {
    "/api/instance/list_instance_state_configurations": state_configurations,
    "/api/instance/get_template": template,
    "/api/instance/put_inventory": inventory,
    "/api/instance/put_instance_state_report": state_report,
}


def handler(node: Node, authenticator: Authenticator, store: Store) -> SignedHandler:
    """Return the handler of what an instance reports."""

    async def answer(request: web.Request, signature: AgentSignature) -> web.StreamResponse:
        body = await read_body(request)

        def write() -> dict[str, Any]:
            now = node.clock()
            with node.database.transaction() as tx:  # not in the group commit: it is large and never urgent
                authenticator.spend(tx, signature, now)
                return store(tx, signature.instance_id, body, now)

        return web.json_response(await node.in_thread(write))

    return answer


def quiet_unless_signed(handler: PlainHandler) -> PlainHandler:
    """Return a handler that answers "not supported" to an agent that is not registered: it then asks once a day."""

    async def answer(request: web.Request) -> Answer | web.StreamResponse:
        if "x-acs-instance-id" in request.headers:
            return await handler(request)
        await read_body(request)
        return web.json_response(NOT_SUPPORTED)

    return answer


def note(path: str, body: bytes, claimed: str) -> None:
    """Count a metric or an exception report, and log a severe one.

    The sender is not authenticated, so that the answer is fast.
    """
    if path not in ("/api/metrics", "/api/v1/exception/client_report"):
        return
    sent = _object(body)
    kind = str(sent.get("eventId" if path == "/api/metrics" else "type", ""))
    EVENTS.labels(kind if kind in _KNOWN_EVENTS else "other").inc()
    if kind in _SEVERE or kind.startswith("AgentUpdateFailure"):
        text = printable(str(sent.get("info", ""))[:LONGEST_NOTE])[:LONGEST_NOTE]
        facts = {"claimed_instance": printable(claimed[:64])[:64], "kind": printable(kind[:40])[:40], "info": text}
        log.warning("an agent reports trouble", extra=facts)


def _success(**result: Any) -> dict[str, Any]:
    return {"result": {"RequestId": "", **result}}


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
