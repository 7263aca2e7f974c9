"""PutPin, DeletePin and ListPins: clients that stay at a version, for a reason, until a moment."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from backfleet import fleet, releases
from backfleet.fleet import Pin, PinKind
from backfleet.identity.policy import Target
from backfleet.operations.authorisation import denial, refusal_of
from backfleet.operations.backfleet.moments import moment_of
from backfleet.operations.backfleet.rollouts.creating import TRIES
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.operations.hbr.answers import page_answer, seconds
from backfleet.operations.hbr.errors import ClientNotFound, InstanceNotExists
from backfleet.operations.hbr.identifiers import LONGEST_ID
from backfleet.operations.hbr.lifecycle import NAME
from backfleet.operations.hbr.settings import own_client
from backfleet.operations.hbr.targets import NamedInstances, call_targets, client_arn, instance_arn
from backfleet.operations.tags import RESERVED, is_reserved
from backfleet.paging import Page
from backfleet.storage import Conflict, Transaction
from backfleet.values import value_object
from backfleet.wire.errors import ApiError, InvalidParameter, OperationConflict
from backfleet.wire.parameters import integer, text
from backfleet.wire.shapes import Maybe
from backfleet_host.versions import scheme_of

LONGEST: Final = timedelta(days=366)  # that a pin may last from now on
LONGEST_REASON: Final = 200
AT_ONCE: Final = 500  # clients whose tags are read by one query

PIN: Final = {
    "InstanceId": Maybe(str),
    "InstanceName": Maybe(str),
    "TagKey": Maybe(str),
    "TagValue": Maybe(str),
    "PackageName": str,
    "Versions": str,
    "Reason": str,
    "Owner": str,
    "State": str,
    "CreatedTime": int,
    "ExpiresTime": int,
}


class PinNotFound(ApiError):
    """There is no pin on this."""

    code = "PinNotFound"
    status = 404

    def __init__(self) -> None:
        super().__init__("There is no pin on this client, instance or tag. `backfleet client pins` lists the pins.")


class TooManyPins(ApiError):
    """The account has as many pins as it may."""

    code = "QuotaExceeded.Pin"
    status = 409

    def __init__(self) -> None:
        super().__init__(
            f"The account has {fleet.MOST_PINS} pins, as many as it may. Pin a tag in place of single clients, or "
            "delete pins."
        )


@value_object
class Pinned:
    """What a pin is on: a client, or an instance, or a tag; of an instance or a tag one package, or all."""

    client_id: str | None = text("ClientId", longest=LONGEST_ID)
    instance_id: str | None = text("InstanceId", longest=LONGEST_ID)
    tag_key: str | None = text("TagKey", longest=64)
    tag_value: str | None = text("TagValue", longest=128)
    package_name: str | None = text("PackageName", longest=64, pattern=NAME)


@value_object
class PutPin(Pinned):
    """A pin: what it is on, why, and until when; and the range in which its clients may move, if they may.

    Until is a day or a moment (ISO 8601; UTC, unless it says otherwise), at most 366 days from now.
    """

    versions: str | None = text("Versions", longest=128)
    reason: str | None = text("Reason", required=True, longest=LONGEST_REASON)
    until: str | None = text("Until", required=True, longest=40)


@value_object
class DeletePin(Pinned):
    """What the pin is on, as it was put, and why it goes: the audit trail keeps that."""

    reason: str | None = text("Reason", longest=LONGEST_REASON)


@value_object
class ListPins:
    """A page."""

    page_number: int = integer("PageNumber", default=1, least=1, most=1_000_000)
    page_size: int = integer("PageSize", default=50, least=1, most=200)


def pinned_targets(call: Call, asked: Any) -> list[Target]:
    """Return the clients that a pin is on; those of a tag are all that might have it."""
    if getattr(asked, "instance_id", None):
        return call_targets(call, NamedInstances((asked.instance_id,)))
    return call_targets(call, asked)


@operation(
    BACKFLEET,
    "PutPin",
    action="backfleet:PutPin",
    resources=pinned_targets,
    answer={**PIN, "Replaced": bool},
    errors=(ClientNotFound, InstanceNotExists, TooManyPins, OperationConflict),
)
def put_pin(call: Call, asked: PutPin) -> dict[str, Any]:
    """Keep a client, an instance's clients or those with a tag at their version, or within a range, until a moment.

    What moves them is refused with `Pinned` until then, and members of rollouts wait. A pin on the same thing is
    replaced.

    Raises:
        ApiError: ClientNotFound, InstanceNotExists, TooManyPins; InvalidParameter for a moment or a range that cannot
            be.
    """
    until = _until(asked.until or "", call.now)
    for _ in range(TRIES):
        try:
            with call.services.database.transaction() as tx:
                pin = _pin(tx, call, asked)
                _check_denials(tx, call, "backfleet:PutPin", pin)
                pin = replace(pin, reason=asked.reason or "", expires_at=until)
                pin = replace(pin, versions=_range(tx, pin.package, asked.versions or ""))
                before = fleet.put_pin(tx, pin)
                return {**_answer(tx, call, [pin])[0], "Replaced": before is not None}
        except fleet.TooManyPins:
            raise TooManyPins from None
        except Conflict:
            continue
    raise OperationConflict("Another call is storing the same pin. Send the request again.")


@operation(
    BACKFLEET,
    "DeletePin",
    action="backfleet:DeletePin",
    resources=pinned_targets,
    answer=PIN,
    errors=(ClientNotFound, InstanceNotExists, PinNotFound),
)
def delete_pin(call: Call, asked: DeletePin) -> dict[str, Any]:
    """Delete a pin: its clients may move again.

    Raises:
        ApiError: PinNotFound, ClientNotFound, InstanceNotExists.
    """
    with call.services.database.transaction() as tx:
        named = _pin(tx, call, asked)
        _check_denials(tx, call, "backfleet:DeletePin", named)
        found = fleet.delete_pin(tx, named)
        if found is None:
            raise PinNotFound
        return _answer(tx, call, [found])[0]


@operation(
    BACKFLEET,
    "ListPins",
    action="backfleet:ListPins",
    resources=call_targets,
    answer={"Pins": [PIN], "PageNumber": int, "PageSize": int, "TotalCount": int},
)
def list_pins(call: Call, asked: ListPins) -> dict[str, Any]:
    """List the account's pins, those first that end first. Expired ones hold nothing, and are deleted later."""
    page = Page(asked.page_number, asked.page_size)
    with call.services.database.reading() as tx:
        found = fleet.find_pins(tx, call.account_id, call.region, page)
        return {"Pins": _answer(tx, call, found.items), **page_answer(page, found.total)}


def _pin(tx: Transaction, call: Call, asked: Pinned) -> Pin:
    """Return a pin on what a call names, without versions and reason, that has just expired.

    Raises:
        ApiError: InvalidParameter unless one thing is named; ClientNotFound, InstanceNotExists.
    """
    named = [bool(asked.client_id), bool(asked.instance_id), bool(asked.tag_key)]
    if sum(named) != 1 or (asked.tag_value and not asked.tag_key):
        raise InvalidParameter("Name one of ClientId, InstanceId, and TagKey with TagValue.")
    package, kind, name, value = asked.package_name or "", PinKind.INSTANCE, asked.instance_id or "", ""
    if asked.client_id:
        client = own_client(tx, call, asked.client_id)
        if package not in ("", client.package):
            raise InvalidParameter(f"{client.id} is a client of {client.package}, not of {package}.")
        name, package = client.instance_id, client.package
    elif asked.tag_key:
        if is_reserved(asked.tag_key):
            raise InvalidParameter(f"TagKey is {asked.tag_key!r}; no tag begins with {' or '.join(RESERVED)}.")
        kind, name, value = PinKind.TAG, asked.tag_key, asked.tag_value or ""
    elif fleet.instance(tx, call.account_id, name) is None:
        raise InstanceNotExists(name)
    return Pin(
        call.account_id, call.region, kind, name, value, package, "", "", call.caller.arn, call.now, expires_at=call.now
    )


def _check_denials(tx: Transaction, call: Call, action: str, pin: Pin) -> None:
    """Check that no policy denies the caller one of the clients that have the tag of a pin now.

    An Allow on everything was asked for before; a Deny on one instance must not be passed by a tag that it has.

    Raises:
        Forbidden: one does.
    """
    if pin.kind is not PinKind.TAG:
        return
    places = fleet.places_with_tag(tx, call.account_id, call.region, pin.name, pin.value)
    targets = [
        Target((*((client_arn(call, call.account_id, client),) if client else ()),
                instance_arn(call, call.account_id, instance)))
        for instance, client in places
    ]  # fmt: skip
    for start in range(0, len(targets), AT_ONCE):
        some = targets[start : start + AT_ONCE]
        denied = denial(tx, call, action, some, call.circumstances, owner=call.account_id)
        if denied is not None:
            raise refusal_of(call, denied)


def _until(given: str, now: datetime) -> datetime:
    """Return the moment that a text names.

    Raises:
        InvalidParameter: it is none, has passed, or is too far off.
    """
    until = moment_of("Until", given)
    if not now < until <= now + LONGEST:
        raise InvalidParameter(
            f"Until is {until:%Y-%m-%dT%H:%M:%SZ}; it must be within {LONGEST.days} days from now, so that no pin is "
            "forgotten. Put it again before it ends."
        )
    return until


def _range(tx: Transaction, package: str, versions: str) -> str:
    """Return a range of versions; a version alone means itself.

    Raises:
        InvalidParameter: it is none by the scheme of the package, or no package is named.
    """
    if not versions:
        return ""
    if not package:
        raise InvalidParameter("Versions are given without PackageName: versions of which package?")
    scheme = scheme_of(releases.schemes_of(tx, [package])[package])
    text_of_range = f"=={versions}" if scheme.order_of(versions) is not None else versions
    bounded = all(term.strip() for term in versions.split(","))  # "," is a range of every version: it holds nothing
    if not bounded or not scheme.is_range(text_of_range):
        raise InvalidParameter(
            f"Versions is {versions!r}; write a version, or a range such as >=1.70,<1.75, by the scheme {scheme.name} "
            f"of {package}."
        )
    return text_of_range


def _answer(tx: Transaction, call: Call, pins: list[Pin]) -> list[dict[str, Any]]:
    ids = [pin.name for pin in pins if pin.kind is PinKind.INSTANCE]
    on = fleet.resolve(tx, call.account_id, call.region, ids, []).instances
    return [_pin_answer(pin, on, call.now) for pin in pins]


def _pin_answer(pin: Pin, on: Mapping[str, fleet.Instance], now: datetime) -> dict[str, Any]:
    if pin.kind is PinKind.TAG:
        place = {"TagKey": pin.name, "TagValue": pin.value}
    else:
        place = {"InstanceId": pin.name, **({"InstanceName": on[pin.name].name} if pin.name in on else {})}
    return {
        **place,
        "PackageName": pin.package,
        "Versions": pin.versions,
        "Reason": pin.reason,
        "Owner": pin.owner,
        "State": pin.state(now),
        "CreatedTime": seconds(pin.created_at),
        "ExpiresTime": seconds(pin.expires_at),
    }
