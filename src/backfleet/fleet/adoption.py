"""Taking in a host that enrolled after the copy was made from which the installation was restored."""

import re
from datetime import datetime
from typing import Final

from backfleet.fleet import _store
from backfleet.fleet.model import Instance, Registration, new_instance
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
    made = new_instance(
        request,
        instance_id=instance_id,
        account_id=account_id,
        region=region,
        activation_id=RESTORED,
        name=request.instance_name or request.hostname,
        source_ip=source_ip,
        now=now,
    )
    _store.instances.add(tx, made)
    return made
