"""Activations: the codes with which hosts enrol."""

import ipaddress
import re
from dataclasses import replace
from typing import Any

from backfleet import fleet
from backfleet.fleet import Activation
from backfleet.operations.catalogue import ECS, Call, operation
from backfleet.operations.ecs import errors
from backfleet.operations.ecs.requests import (
    PAGE_ERRORS,
    PAGE_SHAPE,
    TAG_ERRORS,
    TAGS,
    InRegion,
    Paged,
    check_region,
    give_tags,
    has_address,
    requested_page,
    tag_list,
    tags_answer,
    time_of,
    wanted_tags,
)
from backfleet.operations.tags import Tag
from backfleet.storage import Transaction
from backfleet.values import value_object
from backfleet.wire.parameters import integer, text

NAME = re.compile(r"[A-Za-z\u4e00-\u9fff][\w.:-]{1,49}")

ACTIVATION_SHAPE = {
    "ActivationId": str,
    "InstanceName": str,
    "Description": str,
    "InstanceCount": int,
    "RegisteredCount": int,
    "DeregisteredCount": int,
    "TimeToLiveInHours": int,
    "IpAddressRange": str,
    "Disabled": bool,
    "CreationTime": str,
    "ResourceGroupId": str,
    "Tags": TAGS,
}


def _all_activations(call: Call, asked: object) -> list[str]:
    return [f"acs:ecs:{call.region}:{call.account_id}:activation/*"]


@value_object
class CreateActivation(InRegion):
    """An activation to make."""

    instance_count: int = integer(
        "InstanceCount", default=10, least=1, most=1000, refusal=errors.ActivationCountExceeded
    )
    hours: int = integer("TimeToLiveInHours", default=4, least=1, most=24, refusal=errors.ActivationHoursExceeded)
    instance_name: str | None = text("InstanceName", default="", longest=50, refusal=errors.ActivationNameTooLong)
    description: str | None = text(
        "Description", default="", longest=100, refusal=errors.ActivationDescriptionTooLong, lines=True
    )
    address_range: str | None = text("IpAddressRange", default="", longest=64, refusal=errors.AddressRangeRefused)
    tags: tuple[Tag, ...] = tag_list()


@operation(
    ECS,
    "CreateActivation",
    action="ecs:CreateActivation",
    resources=_all_activations,
    answer={"ActivationId": str, "ActivationCode": str},
    errors=(
        errors.RegionNotFound,
        errors.ActivationCountExceeded,
        errors.ActivationHoursExceeded,
        errors.ActivationNameTooLong,
        errors.ActivationNameRefused,
        errors.ActivationDescriptionTooLong,
        errors.AddressRangeRefused,
        *TAG_ERRORS,
    ),
)
def create_activation(call: Call, asked: CreateActivation) -> dict[str, Any]:
    """Make an activation. This answer is the only place that has its code."""
    check_region(call, asked)
    _check(asked)
    with call.services.database.transaction() as tx:
        made, code = fleet.create_activation(
            tx,
            account_id=call.account_id,
            region=call.region,
            count=asked.instance_count,
            hours=asked.hours,
            name=asked.instance_name or "",
            description=asked.description or "",
            address_range=asked.address_range or "",
            now=call.now,
            draw=call.services.draw,
        )
        give_tags(tx, call, "activation", made.id, asked.tags)
    return {"ActivationId": made.id, "ActivationCode": code}


def _check(asked: CreateActivation) -> None:
    name = asked.instance_name or ""
    if len(name) == 1:
        raise errors.ActivationNameTooLong
    if name and (not NAME.fullmatch(name) or has_address(name)):
        raise errors.ActivationNameRefused
    if asked.address_range:
        try:
            ipaddress.ip_network(asked.address_range, strict=False)
        except ValueError:
            raise errors.AddressRangeRefused from None


@value_object
class DescribeActivations(Paged):
    """Filters of activations."""

    activation_id: str | None = text("ActivationId", longest=64)
    instance_name: str | None = text("InstanceName", longest=64)
    tags: tuple[Tag, ...] = tag_list()


@operation(
    ECS,
    "DescribeActivations",
    action="ecs:DescribeActivations",
    resources=_all_activations,
    answer={"ActivationList": [ACTIVATION_SHAPE], **PAGE_SHAPE},
    errors=(errors.RegionNotFound, errors.TagKeyMissing, *PAGE_ERRORS),
)
def describe_activations(call: Call, asked: DescribeActivations) -> dict[str, Any]:
    """List the account's activations, newest first, without their codes."""
    check_region(call, asked)
    page = requested_page(call, asked)
    asked = page.asked
    with call.services.database.reading() as tx:
        found = fleet.find_activations(
            tx,
            call.account_id,
            call.region,
            activation_id=asked.activation_id,
            name=asked.instance_name,
            page=page.page,
            tags=wanted_tags(asked.tags),
        )
        tags = fleet.tags_of(tx, "activation", [activation.id for activation in found.items])
    listed = [_activation(activation, tags.get(activation.id)) for activation in found.items]
    return {"ActivationList": listed, **page.answer(found)}


def _activation(activation: Activation, tags: dict[str, str] | None) -> dict[str, Any]:
    return {
        "ActivationId": activation.id,
        "InstanceName": activation.name,
        "Description": activation.description,
        "InstanceCount": activation.instance_count,
        "RegisteredCount": activation.registered_count,
        "DeregisteredCount": activation.deregistered_count,
        "TimeToLiveInHours": activation.hours,
        "IpAddressRange": activation.address_range,
        "Disabled": activation.disabled,
        "CreationTime": time_of(activation.created_at),
        "ResourceGroupId": "",
        "Tags": tags_answer(tags),
    }


# --- DisableActivation and DeleteActivation -------------------------------------------------------------------------


@value_object
class NamedActivation(InRegion):
    """An activation."""

    activation_id: str | None = text("ActivationId", required=True, longest=64)


@operation(
    ECS,
    "DisableActivation",
    action="ecs:DisableActivation",
    resources=_all_activations,
    answer={"Activation": ACTIVATION_SHAPE},
    errors=(errors.RegionNotFound, errors.ActivationNotFound),
)
def disable_activation(call: Call, asked: NamedActivation) -> dict[str, Any]:
    """Let no more hosts enrol with an activation. Hosts that have enrolled stay."""
    check_region(call, asked)
    with call.services.database.transaction() as tx:
        known = _the_activation(tx, call, asked.activation_id)
        fleet.disable_activation(tx, known.id)
        tags = fleet.tags_of(tx, "activation", [known.id]).get(known.id)
    return {"Activation": _activation(replace(known, disabled=True), tags)}


@operation(
    ECS,
    "DeleteActivation",
    action="ecs:DeleteActivation",
    resources=_all_activations,
    answer={"Activation": ACTIVATION_SHAPE},
    errors=(errors.RegionNotFound, errors.ActivationNotFound, errors.ActivationInUse),
)
def delete_activation(call: Call, asked: NamedActivation) -> dict[str, Any]:
    """Delete an activation with which no host has enrolled, or whose hosts were all deregistered."""
    check_region(call, asked)
    with call.services.database.transaction() as tx:
        known = _the_activation(tx, call, asked.activation_id)
        if known.registered_count > known.deregistered_count:
            raise errors.ActivationInUse
        tags = fleet.tags_of(tx, "activation", [known.id]).get(known.id)
        fleet.delete_activation(tx, known.id)
    return {"Activation": _activation(known, tags)}


def _the_activation(tx: Transaction, call: Call, activation_id: str | None) -> Activation:
    found = fleet.activation(tx, call.account_id, call.region, activation_id or "")
    if found is None:
        raise errors.ActivationNotFound
    return found
