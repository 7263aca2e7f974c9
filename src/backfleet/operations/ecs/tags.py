"""TagResources, UntagResources, ListTagResources: on managed instances, activations, commands and invocations."""

from collections.abc import Sequence
from typing import Any, Final

from backfleet import assistant, fleet
from backfleet.assistant import CommandFilter, InvocationFilter
from backfleet.operations.catalogue import ECS, Call, operation
from backfleet.operations.ecs import errors
from backfleet.operations.ecs.next_tokens import first_walk, walk_on
from backfleet.operations.ecs.requests import (
    TAG_ERRORS,
    InRegion,
    check_region,
    next_token,
    read_tags,
    tag_list,
    wanted_tags,
)
from backfleet.operations.tags import Tag
from backfleet.paging import Page
from backfleet.storage import Transaction
from backfleet.values import value_object
from backfleet.wire.errors import MissingParameter
from backfleet.wire.parameters import boolean, repeat, text

MOST_RESOURCES = 50
LISTED_AT_ONCE = 50
KINDS: Final = {
    "instance": "instance",
    "managedinstance": "instance",  # every instance here is one, and an ECS instance too
    "activation": "activation",
    "command": "command",
    "invocation": "invocation",
}
"""Our names of the API's ResourceTypes."""
RESOURCE_ERRORS = (errors.RegionNotFound, errors.ResourceTypeNotFound, errors.TooManyResources)


@value_object
class TaggedResources(InRegion):
    """A type of resources, and the ids of some."""

    kind: str | None = text("ResourceType", required=True, longest=64)
    ids: tuple[str, ...] = repeat("ResourceId", most=MOST_RESOURCES, longest_item=64, refusal=errors.TooManyResources)


def _arns(call: Call, asked: TaggedResources) -> list[str]:
    start = f"acs:ecs:{call.region}:{call.account_id}:{KINDS.get((asked.kind or '').lower(), '*')}/"
    return [start + resource_id for resource_id in asked.ids] or [f"{start}*"]


def _kind_of(asked: str | None) -> str:
    """Return our name of a ResourceType. Raises ResourceTypeNotFound."""
    found = KINDS.get((asked or "").lower())
    if found is None:
        raise errors.ResourceTypeNotFound
    return found


def _check_ids(tx: Transaction, call: Call, kind: str, ids: Sequence[str]) -> list[str]:
    """Return the ids, each once. Raises NoResource, or ResourceNotFound if one of them is not the account's."""
    if not ids:
        raise errors.NoResource
    wanted = list(dict.fromkeys(ids))
    if _count(tx, call, kind, wanted) < len(wanted):
        raise errors.ResourceNotFound
    return wanted


def _count(tx: Transaction, call: Call, kind: str, ids: list[str]) -> int:
    """Return how many of these resources are the account's."""
    if kind == "instance":
        return len(fleet.resolve(tx, call.account_id, call.region, ids, []).instances)
    if kind == "activation":
        return sum(fleet.activation(tx, call.account_id, call.region, each) is not None for each in sorted(ids))
    page = Page(1, MOST_RESOURCES)
    if kind == "command":
        return assistant.find_commands(tx, call.account_id, call.region, CommandFilter(ids=ids), page).total
    found = [
        assistant.find_invocations(tx, call.account_id, call.region, InvocationFilter(ids=ids, is_file=is_file), page)
        for is_file in (False, True)
    ]
    return sum(each.total for each in found)


@value_object
class TagResources(TaggedResources):
    """Resources and their new tags."""

    tags: tuple[Tag, ...] = tag_list()


@operation(
    ECS,
    "TagResources",
    action="ecs:TagResources",
    resources=_arns,
    answer={},
    errors=(*RESOURCE_ERRORS, errors.NoResource, errors.ResourceNotFound, *TAG_ERRORS),
)
def tag_resources(call: Call, asked: TagResources) -> dict[str, Any]:
    """Give tags to resources; to none of them if one does not exist."""
    check_region(call, asked)
    kind, tags = _kind_of(asked.kind), read_tags(asked.tags)
    if not tags:
        raise MissingParameter("Tag.1.Key")
    with call.services.database.transaction() as tx:
        ids = _check_ids(tx, call, kind, asked.ids)
        try:
            fleet.set_tags(tx, call.account_id, call.region, kind, ids, tags)
        except fleet.TooManyTags:
            raise errors.TooManyTags from None
    return {}


@value_object
class UntagResources(TaggedResources):
    """Resources, and the tags to remove."""

    keys: tuple[str, ...] = repeat("TagKey", most=20, refusal=errors.TooManyTags)
    all: bool = boolean("All", default=False)


@operation(
    ECS,
    "UntagResources",
    action="ecs:UntagResources",
    resources=_arns,
    answer={},
    errors=(*RESOURCE_ERRORS, errors.NoResource, errors.ResourceNotFound, errors.NoTagToRemove, errors.TooManyTags),
)
def untag_resources(call: Call, asked: UntagResources) -> dict[str, Any]:
    """Remove tags from resources. As in the cloud, All has no effect beside TagKey."""
    check_region(call, asked)
    kind = _kind_of(asked.kind)
    if not asked.keys and not asked.all:
        raise errors.NoTagToRemove
    with call.services.database.transaction() as tx:
        ids = _check_ids(tx, call, kind, asked.ids)
        fleet.remove_tags(tx, kind, ids, asked.keys or None)
    return {}


@value_object
class ListTagResources(TaggedResources):
    """Filters of resources and tags."""

    tags: tuple[Tag, ...] = tag_list()
    next_token: str | None = next_token()


@operation(
    ECS,
    "ListTagResources",
    action="ecs:ListTagResources",
    resources=_arns,
    answer={
        "TagResources": {"TagResource": [{"ResourceId": str, "ResourceType": str, "TagKey": str, "TagValue": str}]},
        "NextToken": str,
    },
    errors=(*RESOURCE_ERRORS, errors.TagKeyMissing, errors.BadNextToken),
)
def list_tag_resources(call: Call, asked: ListTagResources) -> dict[str, Any]:
    """List the tags of resources, by id or by tag. An id that names nothing is left out."""
    check_region(call, asked)
    kind = _kind_of(asked.kind)
    walk = first_walk(call, asked, Page(1, LISTED_AT_ONCE))
    if asked.next_token is not None:
        asked, walk = walk_on(call, asked, asked.next_token, None)
    with call.services.database.reading() as tx:
        found = fleet.find_tags(
            tx, call.account_id, call.region, kind, asked.ids or None, wanted_tags(asked.tags), walk.page
        )
    listed = [
        {
            "ResourceId": tag.resource_id,
            "ResourceType": (asked.kind or "").lower(),
            "TagKey": tag.key,
            "TagValue": tag.value,
        }
        for tag in found.items
    ]
    return {"TagResources": {"TagResource": listed}, "NextToken": walk.next_token(call, found.ended)}
