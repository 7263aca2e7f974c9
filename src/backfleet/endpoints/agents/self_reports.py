"""What agents tell without being asked to: how their hosts are, what is installed there, and what went wrong.

Source: agent wire protocol, sections 11 and 12. State configurations are the agent's way to collect an inventory: each
host gets the same one, which asks for packages, network and system twice a day.
"""

import json
import logging
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from prometheus_client import Counter

from backfleet import fleet
from backfleet.fleet import InventoryItem, InventoryMissing, InventoryRefused
from backfleet.storage import Transaction

INTERVAL_SECONDS: Final = 1800  # the agent's own; another would only restart its timer
SCHEDULE: Final = "12 hours"
NOT_SUPPORTED: Final = {"errCode": "ServiceNotSupported", "errMsg": "no"}  # the quietest answer
TEMPLATE, TEMPLATE_VERSION = "Backfleet-Inventory", "v1"
FACTS = "Backfleet:Host"  # the kind under which we keep what a host says of itself when it asks
LONGEST_NOTE = 300  # characters of an agent's exception report that are logged

Tell = Callable[[Transaction, str, bytes, datetime], dict[str, Any]]
"""Takes what an instance tells; gives the answer."""

EVENTS = Counter("backfleet_assist_agent_events_total", "What agents reported of themselves, by kind.", ["kind"])
_KNOWN_EVENTS: Final = frozenset({
    "agent.startup", "agent.kdump", "agent.update.failed", "agent.channel.failed", "agent.channel.switch",
    "agent.task.failed", "agent.session.failed", "agent.pref.mem.overload", "switch_channel_in_wsk",
    "switch_channel_in_timer", "switch_channel_in_gshell", "AgentPanic", "self_kill", "high_cpu", "init_cgroup",
})  # fmt: skip
_GRAVE: Final = frozenset({"self_kill", "AgentPanic", "high_cpu"})
_PRINTABLE: Final = re.compile(r"[^\x20-\x7e]")

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
    """The one state configuration; what the host says of itself is kept."""
    said = _object(body)
    facts = {
        name: value[:255].replace("\0", "")
        for name in ("agentName", "agentVersion", "computerName", "ipAddress", "platformName", "platformType",
                     "platformVersion", "ramRole")
        if isinstance(value := said.get(name), str)
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
    # Always in full: `Changed: false` towards an agent without a cache makes it fall over.
    return _well(Interval=INTERVAL_SECONDS, Changed=True, Checkpoint=stamp, StateConfigurations=[configuration])


def template(_tx: Transaction, _instance_id: str, body: bytes, _now: datetime) -> dict[str, Any]:
    """What the configuration means; the agent keeps it for ever, by name and version."""
    said = _object(body)
    if (said.get("templateName"), said.get("templateVersion")) != (TEMPLATE, TEMPLATE_VERSION):
        return {"errCode": "TemplateNotFound", "errMsg": "there is no such template"}
    return {"result": {"Content": json.dumps(_CONTENT)}}


def inventory(tx: Transaction, instance_id: str, body: bytes, now: datetime) -> dict[str, Any]:
    """Keep what is installed. A host that says "unchanged" of what we do not have is asked for all of it."""
    try:
        fleet.put_inventory(tx, instance_id, fleet.read_inventory(_object(body).get("items")), now=now)
    except InventoryMissing:
        return {"errCode": "400", "errMsg": "Inventory.ItemContentMismatch"}
    except InventoryRefused as refusal:
        log.warning("an inventory was refused", extra={"instance": instance_id, "reason": str(refusal)})
        return {"errCode": "InvalidInventory", "errMsg": str(refusal)}
    return {"errCode": "", **_well()}


def state_report(_tx: Transaction, instance_id: str, body: bytes, _now: datetime) -> dict[str, Any]:
    """How collecting went."""
    status = _object(body).get("status")
    if status not in ("Compliant", "NotCompliant"):
        facts = {"instance": instance_id, "status": str(status)[:40]}
        log.warning("a host could not collect its inventory", extra=facts)
    return {"errCode": "", **_well()}


ENDPOINTS: Final[Mapping[str, Tell]] = {
    "/api/instance/list_instance_state_configurations": state_configurations,
    "/api/instance/get_template": template,
    "/api/instance/put_inventory": inventory,
    "/api/instance/put_instance_state_report": state_report,
}


def note(path: str, body: bytes, claimed: str) -> None:
    """Count a metric or an exception report, and log a grave one. Who it is from is not proved: it must be fast."""
    if path not in ("/api/metrics", "/api/v1/exception/client_report"):
        return
    said = _object(body)
    kind = str(said.get("eventId" if path == "/api/metrics" else "type", ""))
    EVENTS.labels(kind if kind in _KNOWN_EVENTS else "other").inc()
    if kind in _GRAVE or kind.startswith("AgentUpdateFailure"):
        text = _PRINTABLE.sub("?", str(said.get("info", "")))[:LONGEST_NOTE]
        facts = {"claimed_instance": _PRINTABLE.sub("?", claimed)[:64], "kind": kind[:40], "info": text}
        log.warning("an agent reports trouble", extra=facts)


def _well(**result: Any) -> dict[str, Any]:
    return {"result": {"RequestId": "", **result}}


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
