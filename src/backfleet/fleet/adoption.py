"""Taking in a host that enrolled after the copy was made from which the installation was restored."""

import re
from datetime import datetime
from typing import Final

from backfleet.fleet import _store
from backfleet.fleet.model import Instance, Registration, agent_kind_of
from backfleet.storage import Transaction

INSTANCE_ID: Final = re.compile(r"mi-[a-z0-9]{1,60}")
RESTORED: Final = "restored"  # the activation of adopted instances: the real one is not known, and was spent


def adopt(
    tx: Transaction, request: Registration, *, instance_id: str, account_id: str, region: str, source_ip: str,
    now: datetime,
) -> Instance | None:  # fmt: skip
    """Make a host that has proven its key an instance, under the id that it had.

    Returns:
        The instance; None if there is or was one of this id, or this can be none.
    """
    if not INSTANCE_ID.fullmatch(instance_id) or _store.instances.identity(tx, instance_id) is not None:
        return None
    made = Instance(
        id=instance_id,
        account_id=account_id,
        region=region,
        activation_id=RESTORED,
        name=(request.instance_name or request.hostname)[:128],
        hostname=request.hostname,
        machine_id=request.machine_id,
        os_type=request.os_type,
        os_version=request.os_version,
        platform=request.platform,
        agent_version=request.agent_version,
        agent_kind=agent_kind_of(request.agent_version),
        agent_mode=request.agent_mode,
        intranet_ip=request.intranet_ip,
        internet_ip=source_ip,
        registered_at=now,
        last_heard_at=now,
        clock_skew_ms=None,
        stopped_at=None,
        deregistered_at=None,
        public_key=request.public_key,
    )
    _store.instances.add(tx, made)
    return made
