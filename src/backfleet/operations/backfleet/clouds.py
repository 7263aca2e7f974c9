"""What makes clients of clouds, as the settings have it."""

import functools
from collections.abc import Callable
from typing import Final

from backfleet.carriers import ecs, ssm
from backfleet.carriers.ecs.round import Opening
from backfleet.fleet import CarrierKind
from backfleet.operations.catalogue import Services
from backfleet.outbound import Destinations

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
