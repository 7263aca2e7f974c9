"""TagResources, UntagResources, ListTagResources: on roles and on the account's own policies.

Source: the official SDK of RAM 2015-05-01. Users carry no tags in this product, as in the cloud.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from backfleet import identity
from backfleet.operations.catalogue import RAM, Call, operation
from backfleet.operations.ram import naming
from backfleet.operations.ram.errors import bad_parameter, ram_errors, refusals
from backfleet.operations.ram.tags import BAD_TAG, LONGEST, MOST, read_tags
from backfleet.operations.tags import Tag
from backfleet.values import value_object
from backfleet.wire.errors import MissingParameter
from backfleet.wire.parameters import boolean, integer, repeat, repeat_objects, text
from backfleet.wire.shapes import Maybe

KINDS: Final = {"role": "Role", "policy": "Policy"}
MOST_NAMES: Final = 50
BAD_KIND: Final = bad_parameter("ResourceType", "Format")
BAD_TOKEN: Final = bad_parameter("NextToken", "Format")
CHANGE_ERRORS: Final = (BAD_KIND, *refusals("EntityNotExist.Role", "EntityNotExist.Policy"))


@value_object
class TaggedResources:
    """A type of resources, and the names of some."""

    kind: str = text("ResourceType", required=True, longest=64)
    names: tuple[str, ...] = repeat("ResourceNames", most=MOST_NAMES, longest_item=naming.ON_THE_WIRE)


@value_object
class NewTags(TaggedResources):
    """Resources and their new tags."""

    tags: tuple[Tag, ...] = repeat_objects("Tag", of=Tag)


@value_object
class OldTags(TaggedResources):
    """Resources, and the tags to remove."""

    keys: tuple[str, ...] = repeat("TagKeys", most=MOST, longest_item=LONGEST)
    all: bool = boolean("All", default=False)


@value_object
class ListedTags(TaggedResources):
    """Filters of resources and tags, and a part of the list."""

    tags: tuple[Tag, ...] = repeat_objects("Tag", of=Tag)
    page_size: int = integer("PageSize", default=100, least=1, most=100)
    next_token: str = text("NextToken", default="", longest=2048)


def _arns(call: Call, asked: TaggedResources) -> list[str]:
    start = f"acs:ram::{call.account_id}:{asked.kind if asked.kind in KINDS else '*'}/"
    return [start + name for name in asked.names] or [f"{start}*"]


def _kind(asked: TaggedResources) -> str:
    if asked.kind not in KINDS:
        raise BAD_KIND(f"It is role or policy, {asked.kind!r} was found.")
    return KINDS[asked.kind]


def _names(asked: TaggedResources) -> list[str]:
    if not asked.names:
        raise MissingParameter("ResourceNames.1")
    return list(dict.fromkeys(asked.names))


@operation(
    RAM,
    "TagResources",
    action="ram:TagResources",
    resources=_arns,
    answer={},
    errors=(*CHANGE_ERRORS, BAD_TAG, *refusals("LimitExceeded.Tag")),
)
def tag_resources(call: Call, asked: NewTags) -> dict[str, Any]:
    """Give tags to roles or policies; to none of them if one does not exist. A key that is there gets the new value."""
    kind, names = _kind(asked), _names(asked)
    tags = {key: value or "" for key, value in read_tags(asked.tags, "").items()}
    if not tags:
        raise MissingParameter("Tag.1.Key")
    with ram_errors(), call.services.database.transaction() as tx:
        identity.set_tags(tx, call.account_id, kind, names, tags)
    return {}


@operation(RAM, "UntagResources", action="ram:UntagResources", resources=_arns, answer={}, errors=CHANGE_ERRORS)
def untag_resources(call: Call, asked: OldTags) -> dict[str, Any]:
    """Remove tags from roles or policies; a key that is not there does not matter. All has no effect beside TagKeys."""
    kind, names = _kind(asked), _names(asked)
    if not asked.keys and not asked.all:
        raise MissingParameter("TagKeys.1")
    with ram_errors(), call.services.database.transaction() as tx:
        identity.remove_tags(tx, call.account_id, kind, names, asked.keys or None)
    return {}


@operation(
    RAM,
    "ListTagResources",
    action="ram:ListTagResources",
    resources=_arns,
    answer={
        "TagResources": [{"ResourceType": str, "ResourceName": str, "TagKey": str, "TagValue": str}],
        "NextToken": Maybe(str),
    },
    errors=(BAD_KIND, BAD_TAG, BAD_TOKEN),
)
def list_tag_resources(call: Call, asked: ListedTags) -> dict[str, Any]:
    """List the tags of roles or policies, by name and key: of these names, and of those that have all of these tags.

    A name that does not exist is left out.
    """
    kind, wanted, after = _kind(asked), read_tags(asked.tags, ""), _place(asked.next_token)
    with call.services.database.reading() as tx:
        known = identity.tags_of(tx, call.account_id, kind, list(dict.fromkeys(asked.names)) or None)
    rows = [(name, key) for name, tags in known.items() if _has(tags, wanted) for key in tags]
    part = sorted(row for row in rows if row > after)[: asked.page_size + 1]
    shown = [
        {"ResourceType": asked.kind, "ResourceName": name, "TagKey": key, "TagValue": known[name][key]}
        for name, key in part[: asked.page_size]
    ]
    more = len(part) > asked.page_size
    return {"TagResources": shown, "NextToken": _token(part[asked.page_size - 1]) if more else None}


def _has(tags: Mapping[str, str], wanted: Mapping[str, str | None]) -> bool:
    return all(key in tags and value in (None, tags[key]) for key, value in wanted.items())


def _token(last: Sequence[str]) -> str:
    """Return the token of the next part: the place of the last row, which others' changes do not shift."""
    return base64.urlsafe_b64encode(json.dumps(last).encode()).decode().rstrip("=")


def _place(token: str) -> tuple[str, str]:
    if not token:
        return ("", "")
    try:
        name, key = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, TypeError, RecursionError):
        name = key = None
    if not isinstance(name, str) or not isinstance(key, str):
        raise BAD_TOKEN("It is the NextToken of the answer before.")
    return name, key
