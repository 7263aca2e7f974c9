"""Parameters that several of HBR's operations share."""

from typing import Any

from backfleet.paging import LAST_PAGE
from backfleet.wire.parameters import integer, text


def page_number() -> Any:
    """Return the field of PageNumber; it counts from 1."""
    return integer("PageNumber", default=1, least=1, most=LAST_PAGE)


def page_size() -> Any:
    """Return the field of PageSize; ten unless it is given."""
    return integer("PageSize", default=10, least=1, most=99)


def release_version() -> Any:
    """Return the field of ReleaseVersion, which is ours: the version to go to."""
    return text("ReleaseVersion", longest=64)


def expires_in_seconds() -> Any:
    """Return the field of ExpiresInSeconds, which is ours: for how long hosts that are away or busy are waited for."""
    return integer("ExpiresInSeconds", least=60, most=2_592_000)


def vault_id(*, required: bool = False) -> Any:
    """Return the field of VaultId, which is checked and has no effect here."""
    return text("VaultId", required=required, longest=128)


def resource_group_id() -> Any:
    """Return the field of ResourceGroupId, which is checked and has no effect here."""
    return text("ResourceGroupId", longest=128)
