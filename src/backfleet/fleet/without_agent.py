"""Instances that no agent enrolled: they are reached by another carrier than our gateway."""

from datetime import datetime
from typing import Final

from backfleet.fleet import _store
from backfleet.fleet.model import AgentKind, CarrierKind, Instance
from backfleet.ids import Draw, new_id
from backfleet.storage import Transaction

NO_ACTIVATION: Final = ""


def add_without_agent(
    tx: Transaction,
    account_id: str,
    region: str,
    carrier: CarrierKind,
    *,
    name: str,
    now: datetime,
    draw: Draw,
    instance_id: str = "",
) -> str:
    """Register an instance that has no agent of ours; return its id. What is on it, its first visit finds out.

    Args:
        instance_id: the id that it has elsewhere, and keeps if nobody has it here; "" = none.
    """
    is_free = bool(instance_id) and not _store.instances.is_known(tx, instance_id)
    made = Instance(
        id=instance_id if is_free else new_id("mi", draw),
        account_id=account_id,
        region=region,
        activation_id=NO_ACTIVATION,
        name=name[:128],
        hostname="",
        machine_id="",
        os_type="linux",
        os_version="",
        platform="",
        agent_version="",
        agent_kind=AgentKind.OFFICIAL,  # it takes shell commands
        agent_mode="",
        intranet_ip="",
        internet_ip="",
        registered_at=now,
        last_heard_at=None,
        clock_skew_ms=None,
        stopped_at=None,
        deregistered_at=None,
        public_key="",
        carrier=carrier,
    )
    _store.instances.add(tx, made)
    return made.id


def note_facts(
    tx: Transaction,
    instance_id: str,
    *,
    hostname: str,
    machine_id: str,
    os_type: str,
    os_version: str,
    platform: str,
    address: str,
    agent_version: str,
) -> None:
    """Record what a visit found on an instance without an agent."""
    _store.instances.set_facts(
        tx,
        instance_id,
        {
            "hostname": hostname,
            "machine_id": machine_id,
            "os_type": os_type,
            "os_version": os_version,
            "platform": platform,
            "intranet_ip": address[:64],
            "agent_version": agent_version[:64],
        },
    )
