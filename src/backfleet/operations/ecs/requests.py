"""What ECS operations ask in the same words: pages, tags, instances as resources."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from backfleet.operations.catalogue import Call
from backfleet.operations.ecs import errors
from backfleet.paging import Listing, Page
from backfleet.wire.parameters import integer, repeat_objects, text

TIME = "%Y-%m-%dT%H:%M:%SZ"
LAST_PAGE = 1_000_000
MOST_TAGS = 20
LONGEST_TAG_KEY, LONGEST_TAG_VALUE = 64, 128  # characters

TAG_ERRORS = (
    errors.TooManyTags,
    errors.TagKeyMissing,
    errors.TagKeyTwice,
    errors.TagKeyMalformed,
    errors.TagValueMalformed,
)
PAGE_ERRORS = (errors.BadPageNumber, errors.BadPageSize, errors.BadNextToken, errors.BadMaxResults)
TAGS = [{"TagKey": str, "TagValue": str}]
PAGE_SHAPE = {"PageNumber": int, "PageSize": int, "TotalCount": int, "NextToken": str}


def region() -> Any:
    """The region that every operation names."""
    return text("RegionId", required=True)


def page_number() -> Any:
    """Counts from 1."""
    return integer("PageNumber", default=1, least=1, most=LAST_PAGE, refusal=errors.BadPageNumber)


def page_size(most: int = 50) -> Any:
    """Ten unless said otherwise."""
    return integer("PageSize", default=10, least=1, most=most, refusal=errors.BadPageSize)


def next_token() -> Any:
    """`p` and the number of the next page: the answer before this one gave it."""
    return text("NextToken", pattern=r"p[1-9][0-9]{0,5}", refusal=errors.BadNextToken)


def max_results() -> Any:
    """How many results of a page by token; what is too much or too little becomes the nearest that is taken."""
    return integer("MaxResults", refusal=errors.BadMaxResults)


def client_token() -> Any:
    """The same call twice is one."""
    return text("ClientToken", longest=64, pattern=r"[\x20-\x7e]*", refusal=errors.BadClientToken)


@dataclass(frozen=True, slots=True)
class Tag:
    """A key and a value."""

    key: str | None = text("Key", longest=LONGEST_TAG_KEY, refusal=errors.TagKeyMalformed)
    value: str | None = text("Value", longest=LONGEST_TAG_VALUE, refusal=errors.TagValueMalformed)


def tag_list() -> Any:
    """At most 20."""
    return repeat_objects("Tag", of=Tag, most=MOST_TAGS, refusal=errors.TooManyTags)


def read_tags(asked: Sequence[Tag]) -> dict[str, str]:
    """Tags to be given to a resource.

    Raises:
        EcsRefusal: one of TAG_ERRORS.
    """
    found: dict[str, str] = {}
    for tag in asked:
        if not tag.key:
            raise errors.TagKeyMissing
        if tag.key in found:
            raise errors.TagKeyTwice
        if tag.key.startswith(("acs:", "aliyun")) or _has_address(tag.key):
            raise errors.TagKeyMalformed
        if _has_address(tag.value or ""):
            raise errors.TagValueMalformed
        found[tag.key] = tag.value or ""
    return found


def wanted_tags(asked: Sequence[Tag]) -> list[tuple[str, str | None]]:
    """Tags that are looked for: a key alone means any value.

    Raises:
        TagKeyMissing: a value without its key.
    """
    if any(not tag.key for tag in asked):
        raise errors.TagKeyMissing
    return [(tag.key or "", tag.value) for tag in asked]


def _has_address(text: str) -> bool:
    return "http://" in text or "https://" in text


class Pages(Protocol):
    """A request for a part of a list."""

    @property
    def page_number(self) -> int:
        """Counts from 1."""

    @property
    def page_size(self) -> int:
        """Items."""

    @property
    def next_token(self) -> str | None:
        """Of the answer before."""

    @property
    def max_results(self) -> int | None:
        """Items, if asked for by token."""


@dataclass(frozen=True, slots=True)
class Part:
    """The page that was asked for, and whether by token."""

    page: Page
    by_token: bool

    def answer(self, found: Listing[Any]) -> dict[str, Any]:
        """The page fields of an answer. NextToken is empty on the last page."""
        more = self.by_token and self.page.offset + len(found.items) < found.total
        return {
            "PageNumber": self.page.number,
            "PageSize": self.page.size,
            "TotalCount": found.total,
            "NextToken": f"p{self.page.number + 1}" if more else "",
        }


def part_of(asked: Pages, *, most: int = 50) -> Part:
    """Page fields are ignored next to NextToken or MaxResults; below 10 results become 10, as the cloud does it."""
    if asked.next_token is None and asked.max_results is None:
        return Part(Page(asked.page_number, asked.page_size), by_token=False)
    return Part(Page(int((asked.next_token or "p1")[1:]), min(max(asked.max_results or 10, 10), most)), by_token=True)


def instance_arns(call: Call, ids: Sequence[str | None] | None) -> list[str]:
    """Instances as resources of a policy; all of them where none is named."""
    start = f"acs:ecs:{call.region}:{call.account_id}:instance/"
    return [f"{start}{instance_id}" for instance_id in ids] if ids else [f"{start}*"]


def time_of(moment: datetime | None) -> str:
    """As the API writes it; empty text for what has not happened."""
    return moment.strftime(TIME) if moment else ""
