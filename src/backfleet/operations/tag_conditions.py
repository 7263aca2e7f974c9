"""Tags as condition keys of policies: those of the resources of a call, and those in its request.

Source: RAM, condition keys acs:ResourceTag, acs:RequestTag and ecs:tag.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from backfleet import fleet
from backfleet.fleet import MOST_TAGS
from backfleet.paging import Page
from backfleet.storage import Transaction

_ARN: Final = re.compile(r"acs:ecs:([^:]*):([^:]*):(instance|activation|command|invocation)/([A-Za-z0-9-]+)")


def resource_tags(tx: Transaction, resources: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the condition keys of each resource that has tags. It makes one query per kind of resource."""
    named = {resource: found for resource in resources if (found := _ARN.fullmatch(resource)) is not None}
    by_place: dict[tuple[str, str, str], list[str]] = {}
    for found in named.values():
        by_place.setdefault((found[1], found[2], found[3]), []).append(found[4])
    tags: dict[tuple[str, str], dict[str, str]] = {}
    for (region, account_id, kind), ids in by_place.items():
        everything = Page(1, len(ids) * MOST_TAGS)
        # Search within the account only: the tags of another account must not decide anything here.
        for tag in fleet.find_tags(tx, account_id, region, kind, ids, (), everything).items:
            tags.setdefault((kind, tag.resource_id), {})[tag.key] = tag.value
    return {
        resource: {
            name: value
            for key, value in tags[found[3], found[4]].items()
            for name in (f"acs:ResourceTag/{key}", f"ecs:tag/{key}")
        }
        for resource, found in named.items()
        if (found[3], found[4]) in tags
    }


def requested_tags(asked: Any) -> Mapping[str, str]:
    """Return the condition keys of the tags in a request."""
    return {f"acs:RequestTag/{tag.key}": tag.value or "" for tag in getattr(asked, "tags", None) or () if tag.key}
