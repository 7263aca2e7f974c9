"""Every operation described once, as data: the table that `@operation` fills."""

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from backfleet import identity, releases
from backfleet.ids import Draw
from backfleet.settings import Settings
from backfleet.storage import Database
from backfleet.wire.errors import ActionNotFound, ApiError, InvalidVersion
from backfleet.wire.shapes import Anything, Shape


@dataclass(frozen=True, slots=True)
class Product:
    """One API of the cloud, at one version."""

    code: str
    version: str


HBR = Product("hbr", "2017-09-08")
ECS = Product("ecs", "2014-05-26")
STS = Product("sts", "2015-04-01")
RAM = Product("ram", "2015-05-01")
OWN = Product("backfleet", "2026-11-01")
PRODUCTS = {product.version: product for product in (HBR, ECS, STS, RAM, OWN)}
"""On one address the version tells the product; an action's name alone would not (DescribeRegions)."""


@dataclass(frozen=True, slots=True)
class Services:
    """What every operation may use."""

    database: Database
    settings: Settings
    vault: identity.Vault
    repository: releases.Repository
    draw: Draw


@dataclass(frozen=True, slots=True)
class Upload:
    """A streamed body, already on disk, measured and hashed. Whoever keeps it moves it away."""

    path: Path
    sha256: str
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one caller who has proved who they are."""

    request_id: str
    caller: identity.Caller
    region: str
    now: datetime
    source_ip: str
    secure: bool
    services: Services
    user_agent: str = ""
    upload: Upload | None = None

    @property
    def circumstances(self) -> dict[str, str]:
        """What conditions may ask about any call. The address is the peer's, never one that was sent."""
        return {
            "acs:CurrentTime": self.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "acs:SourceIp": self.source_ip,
            "acs:SecureTransport": "true" if self.secure else "false",
            "acs:MFAPresent": "false",
            "acs:PrincipalARN": self.caller.principal_arn,
        }

    @property
    def account_id(self) -> str:
        """The account in which the caller acts."""
        return self.caller.account_id


Answer = Mapping[str, Any]
Run = Callable[[Call, Any], Answer]
Resources = Callable[[Call, Any], Sequence[str]]
Denied = Callable[[Call, Any], Answer]
Conditions = Callable[[Call, Any], Mapping[str, str]]
Handler = TypeVar("Handler", bound=Callable[..., Mapping[str, Any]])


@dataclass(frozen=True, slots=True)
class Operation:
    """What can be asked.

    `action` is the RAM action, None where no permission is needed. `resources` gives the ARNs it touches, None means
    all (`*`). `conditions` gives further keys that policies may ask about. `denied` gives the answer for a caller
    without permission where the API says so instead of an error.
    `answer` is the shape of a success, without RequestId, which every answer has; `errors` are its own refusals, beside
    those that every operation shares.
    """

    product: Product
    name: str
    request: type[Any]
    action: str | None
    run: Run
    answer: Shape
    errors: tuple[type[ApiError], ...] = ()
    resources: Resources | None = None
    denied: Denied | None = None
    streams: bool = False  # the body is a file
    needs_tls: bool = False  # refused over plain HTTP by the cloud, and here if the setting says so
    conditions: Conditions | None = None
    operators: bool = False  # it touches what belongs to every account: for callers of the first one only
    anonymous: bool = False  # taken without a signature too: it proves who asks in a way of its own


_OPERATIONS: dict[tuple[str, str], Operation] = {}


def operation(
    product: Product,
    name: str,
    *,
    action: str | None,
    answer: Shape = Anything,
    errors: tuple[type[ApiError], ...] = (),
    resources: Resources | None = None,
    denied: Denied | None = None,
    streams: bool = False,
    needs_tls: bool = False,
    conditions: Conditions | None = None,
    operators: bool = False,
    anonymous: bool = False,
) -> Callable[[Handler], Handler]:
    """Enter a function `(call, asked) -> answer` into the catalogue. Its second argument's type is the request.

    Raises:
        ValueError: the operation is already there.
    """

    def enter(run: Handler) -> Handler:
        if (product.version, name) in _OPERATIONS:
            raise ValueError(f"{product.code} {name} is described twice")
        asked = list(inspect.signature(run).parameters)[1]
        request = typing.get_type_hints(run)[asked]
        _OPERATIONS[product.version, name] = Operation(
            product,
            name,
            request,
            action,
            run,
            answer,
            errors,
            resources,
            denied,
            streams,
            needs_tls,
            conditions,
            operators,
            anonymous,
        )
        return run

    return enter


def find(version: str, action: str) -> Operation:
    """The operation of this name in the product of this version.

    Raises:
        InvalidVersion: no product has it.
        ActionNotFound: the product has no such operation.
    """
    if version not in PRODUCTS:
        raise InvalidVersion
    found = _OPERATIONS.get((version, action))
    if found is None:
        raise ActionNotFound
    return found


def every_operation() -> list[Operation]:
    """The whole catalogue, by product and name."""
    return sorted(_OPERATIONS.values(), key=lambda o: (o.product.code, o.name))
