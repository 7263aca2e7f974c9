"""Describe every operation once, as data: the table that `@operation` fills.

Parsing, the reference, the OpenAPI document and the audit trail all read this table.
"""

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack

from backfleet import identity, releases
from backfleet.hold import Watch
from backfleet.ids import Draw
from backfleet.settings import Settings
from backfleet.storage import CallLimit, Database
from backfleet.values import changed, value_object
from backfleet.wire.errors import ActionNotFound, ApiError, InvalidVersion
from backfleet.wire.shapes import Anything, Shape


@value_object
class Product:
    """One API of the cloud, at one version.

    `needs_tls`: the cloud refuses every operation of it over plain HTTP; so does this server where the setting
    `require_tls` is on.
    """

    code: str
    version: str
    needs_tls: bool = False


HBR = Product("hbr", "2017-09-08")
ECS = Product("ecs", "2014-05-26")
STS = Product("sts", "2015-04-01", needs_tls=True)
RAM = Product("ram", "2015-05-01", needs_tls=True)
BACKFLEET = Product("backfleet", "2026-11-01")
PRODUCTS = {product.version: product for product in (HBR, ECS, STS, RAM, BACKFLEET)}
"""By version: on one address the version tells the product, as two products may share an action (DescribeRegions)."""


@value_object
class Services:
    """The application context: what every operation may use."""

    database: Database
    settings: Settings
    vault: identity.Vault
    repository: releases.Repository
    draw: Draw
    hold: Watch | None = None  # None: it is not known to have been restored
    skew: Callable[[], timedelta] = timedelta  # by how much this machine's clock is ahead of the database's

    def within(self, limit: CallLimit) -> "Services":
        """Return the same for one call, with a database that changes nothing once `limit` is reached."""
        return changed(self, database=self.database.within(limit))


@value_object
class Upload:
    """A streamed body, already on disk, measured and hashed. An operation that keeps the file moves it away."""

    path: Path
    sha256: str
    size: int  # bytes


@value_object
class Call:
    """One call of one authenticated caller."""

    request_id: str
    caller: identity.Caller
    region: str
    now: datetime
    source_ip: str
    secure: bool
    services: Services
    user_agent: str = ""
    upload: Upload | None = None
    traceparent: str = ""  # its own place in a trace; "" = no traces are recorded

    @property
    def circumstances(self) -> dict[str, str]:
        """The condition keys of every call. The address is the peer's, as trusted proxies name it."""
        known = {
            # strftime would look for the machine's time zone each time
            "acs:CurrentTime": f"{self.now.replace(tzinfo=None).isoformat(timespec='seconds')}Z",
            "acs:SourceIp": self.source_ip,
            "acs:SecureTransport": "true" if self.secure else "false",
            "acs:PrincipalARN": self.caller.principal_arn,
            "acs:UserAgent": self.user_agent,
        }
        return known if self.caller.user_name is None else {**known, "acs:UserName": self.caller.user_name}

    def within(self, limit: CallLimit) -> "Call":
        """Return this call with a database that changes nothing once `limit` is reached."""
        return changed(self, services=self.services.within(limit))

    @property
    def account_id(self) -> str:
        """The account in which the caller acts."""
        return self.caller.account_id


Answer = Mapping[str, Any]
Run = Callable[[Call, Any], Answer]
Resources = Callable[[Call, Any], Sequence[str | identity.policy.Target]]
Denied = Callable[[Call, Any], Answer]
Conditions = Callable[[Call, Any], Mapping[str, str]]
Handler = TypeVar("Handler", bound=Callable[..., Mapping[str, Any]])


@value_object
class Operation:
    """One action of a product: how it is asked, who may ask it, what it answers, and the function that does it.

    `action` is the RAM action; None where no permission is needed. `resources` returns the ARNs that a call touches, or
    targets that have several; None means all of the product's (`*`). `conditions` returns further keys for the
    conditions of policies. `denied` returns the answer for a caller without permission, where the API answers instead
    of refusing. `answer` is the shape of a success, without the RequestId that every answer has. `errors` are the
    operation's own, beside those that all operations share.
    """

    product: Product
    name: str
    request: type[Any]
    run: Run
    action: str | None
    answer: Shape = Anything
    errors: tuple[type[ApiError], ...] = ()
    resources: Resources | None = None
    denied: Denied | None = None
    conditions: Conditions | None = None
    needs_tls: bool = False  # refused over plain HTTP by the cloud, and here if the setting says so
    streams: bool = False  # the body is a file
    administrator_only: bool = False  # it touches what belongs to every account: for the administrator account only
    anonymous: bool = False  # taken without a signature too: the operation authenticates the caller in its own way


class Description(TypedDict, total=False):
    """What `@operation` says about an operation, in the words of `Operation`."""

    action: typing.Required[str | None]
    answer: Shape
    errors: tuple[type[ApiError], ...]
    resources: Resources
    denied: Denied
    conditions: Conditions
    needs_tls: bool
    streams: bool
    administrator_only: bool
    anonymous: bool


_OPERATIONS: dict[tuple[str, str], Operation] = {}


def operation(product: Product, name: str, **description: Unpack[Description]) -> Callable[[Handler], Handler]:
    """Enter a function `(call, asked) -> answer` into the catalogue. The type of its second argument is the request.

    An operation needs TLS if its product does.

    Raises:
        ValueError: the product already has an operation of this name.
    """
    description["needs_tls"] = product.needs_tls or description.get("needs_tls", False)

    def enter(run: Handler) -> Handler:
        if (product.version, name) in _OPERATIONS:
            raise ValueError(f"{product.code} {name} is described twice")
        asked = list(inspect.signature(run).parameters)[1]
        request = typing.get_type_hints(run)[asked]
        _OPERATIONS[product.version, name] = Operation(product, name, request, run, **description)
        return run

    return enter


def find(version: str, action: str) -> Operation:
    """Return the operation of this name in the product of this version.

    Raises:
        InvalidVersion: no product has this version.
        ActionNotFound: the product has no such operation.
    """
    if version not in PRODUCTS:
        raise InvalidVersion
    found = _OPERATIONS.get((version, action))
    if found is None:
        raise ActionNotFound
    return found


def every_operation() -> list[Operation]:
    """Return the whole catalogue, ordered by product and name."""
    return sorted(_OPERATIONS.values(), key=lambda o: (o.product.code, o.name))
