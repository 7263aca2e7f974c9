"""CreateActivation and DescribeActivations: codes with which hosts enrol."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from backfleet import fleet
from backfleet.fleet import Page
from backfleet.operations.catalogue import ECS, Call, operation
from backfleet.operations.ecs.errors import ActivationRefused, BadPage, check_region
from backfleet.wire.parameters import integer, text

NAME = re.compile(r"[A-Za-z\u4e00-\u9fff][\w.:-]{1,49}")
TIME = "%Y-%m-%dT%H:%M:%SZ"


def _all_activations(call: Call, asked: object) -> list[str]:
    return [f"acs:ecs:{call.region}:{call.account_id}:activation/*"]


@dataclass(frozen=True, slots=True)
class CreateActivation:
    """What the caller sent."""

    region_id: str | None = text("RegionId", required=True)
    instance_count: int = integer("InstanceCount", default=10)
    hours: int = integer("TimeToLiveInHours", default=4)
    instance_name: str | None = text("InstanceName", default="")
    description: str | None = text("Description", default="")
    address_range: str | None = text("IpAddressRange", default="")


@operation(ECS, "CreateActivation", action="ecs:CreateActivation", resources=_all_activations)
def create_activation(call: Call, asked: CreateActivation) -> dict[str, Any]:
    """A new activation. Its code is in this answer and nowhere else."""
    check_region(call, asked.region_id)
    _check(asked)
    with call.house.database.transaction() as tx:
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
            draw=call.house.draw,
        )
    return {"ActivationId": made.id, "ActivationCode": code}


def _check(asked: CreateActivation) -> None:
    name, description = asked.instance_name or "", asked.description or ""
    if not 1 <= asked.instance_count <= 1000:
        raise ActivationRefused("ActivationCount.ExceedLimit", "InstanceCount must be from 1 to 1000.")
    if not 1 <= asked.hours <= 24:
        raise ActivationRefused("ActivationTTL.ExceedLimit", "TimeToLiveInHours must be from 1 to 24.")
    if name and not 2 <= len(name) <= 50:
        raise ActivationRefused("InstanceName.ExceedLimit", "InstanceName must have 2 to 50 characters.")
    if name and (not NAME.fullmatch(name) or "http://" in name or "https://" in name):
        raise ActivationRefused(
            "InstanceName.InvalidPattern", "InstanceName must start with a letter and hold letters, digits and . _ : -"
        )
    if len(description) > 100:
        raise ActivationRefused("ActivationDesc.ExceedLimit", "Description must have at most 100 characters.")
    if asked.address_range:
        try:
            ipaddress.ip_network(asked.address_range, strict=False)
        except ValueError:
            raise ActivationRefused(
                "AddressRange.InvalidPattern", "IpAddressRange must be an address or a network such as 10.0.0.0/8."
            ) from None


@dataclass(frozen=True, slots=True)
class DescribeActivations:
    """What the caller sent."""

    region_id: str | None = text("RegionId", required=True)
    activation_id: str | None = text("ActivationId")
    instance_name: str | None = text("InstanceName")
    page_number: int = integer("PageNumber", default=1)
    page_size: int = integer("PageSize", default=10)


@operation(ECS, "DescribeActivations", action="ecs:DescribeActivations", resources=_all_activations)
def describe_activations(call: Call, asked: DescribeActivations) -> dict[str, Any]:
    """The account's activations, newest first, without their codes."""
    check_region(call, asked.region_id)
    page = page_of(asked.page_number, asked.page_size, most=50)
    with call.house.database.reading() as tx:
        found = fleet.find_activations(
            tx, call.account_id, call.region, activation_id=asked.activation_id, name=asked.instance_name, page=page
        )
    return {
        "ActivationList": [
            {
                "ActivationId": a.id,
                "InstanceName": a.name,
                "Description": a.description,
                "InstanceCount": a.instance_count,
                "RegisteredCount": a.registered_count,
                "DeregisteredCount": a.deregistered_count,
                "TimeToLiveInHours": a.hours,
                "IpAddressRange": a.address_range,
                "Disabled": a.disabled,
                "CreationTime": a.created_at.strftime(TIME),
                "ResourceGroupId": "",
                "Tags": [],
            }
            for a in found.items
        ],
        "PageNumber": page.number,
        "PageSize": page.size,
        "TotalCount": found.total,
    }


def page_of(number: int, size: int, *, most: int) -> Page:
    """The page that was asked for. Raises BadPage."""
    if not 1 <= number <= 1_000_000:
        raise BadPage("PageNumber")
    if not 1 <= size <= most:
        raise BadPage("PageSize")
    return Page(number, size)
