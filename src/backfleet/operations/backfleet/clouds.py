"""What operations on every cloud's accounts have in common: who makes clients of clouds, and imports from them."""

import functools
from collections.abc import Callable
from typing import Any, Final

from backfleet.carriers import ecs, ssm
from backfleet.carriers.ecs import Selection
from backfleet.carriers.ecs.round import Opening
from backfleet.fleet import CarrierKind
from backfleet.operations.catalogue import Call, Services
from backfleet.outbound import Destinations
from backfleet.wire.errors import MissingParameter

BOX: Final = "ecs accounts"  # of the vault: for the secrets of every cloud's accounts


def cloud_clients(services: Services) -> Opening:
    """Return what makes clients of clouds. Raises ValueError where a setting cannot be read."""
    settings, unseal = services.settings, services.vault.box(BOX).unseal
    makers: dict[CarrierKind, Callable[[], Opening]] = {}
    for kind, make in ((CarrierKind.ECS, ecs.make_clouds), (CarrierKind.SSM, ssm.make_clouds)):
        allowed, own = f"{kind.value}_allowed", f"{kind.value}_own_credentials_for"
        named = frozenset(filter(None, (each.strip() for each in getattr(settings, own).split(","))))
        destinations = Destinations.read(getattr(settings, allowed), setting=allowed)
        makers[kind] = functools.partial(make, destinations, unseal, named.__contains__)
    return ecs.Clouds(makers)


def import_from(call: Call, asked: Any, cloud: CarrierKind) -> dict[str, Any]:
    """Ask a cloud for a selection, and keep it; return the answer.

    Args:
        call: the call.
        asked: ImportEcsInstances, or what has its fields; a cloud may lack resource groups.
        cloud: the carrier of its instances.

    Raises:
        MissingParameter: a tag has no key.
        AccountNotFound: there is no cloud account of this name.
        EcsProblem: the cloud refused it, or was not reached.
        TooMany: the account has as many imports as it may.
    """
    tags = tuple((tag.key or "", tag.value or "") for tag in asked.tags)
    if any(not key for key, _ in tags):
        raise MissingParameter("Tag.N.Key")
    ids, group = tuple(sorted(set(asked.instance_ids))), getattr(asked, "resource_group", "")
    selection = Selection(asked.cloud_region, ids, tuple(sorted(tags)), group)
    with call.services.database.reading() as tx:
        account = ecs.find_account(tx, call.account_id, asked.name, cloud)
    found = ecs.check(cloud_clients(call.services), account, selection, call.now)
    with call.services.database.transaction() as tx:
        made = ecs.add_import(tx, call.account_id, asked.name, selection, cloud, now=call.now, draw=call.services.draw)
    return {"ImportId": made.import_id, "Found": found}
