"""What ECS operations have in common: the region, pages, tags, instances as resources, and times."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from backfleet import assistant, fleet
from backfleet.assistant import InvocationFilter
from backfleet.operations.catalogue import Call
from backfleet.operations.ecs import errors
from backfleet.operations.ecs.next_tokens import Walk, first_walk, walk_on
from backfleet.operations.tags import Tag, is_reserved, tag_type
from backfleet.paging import LAST_PAGE, Listing, Page
from backfleet.storage import Transaction
from backfleet.values import value_object
from backfleet.wire.parameters import integer, repeat_objects, text

TIME = "%Y-%m-%dT%H:%M:%SZ"
LONGEST_TOKEN = 8192  # characters
LEAST_RESULTS = 10  # of a page by token
MOST_TAGS = 20
EcsTag: Final = tag_type(longest_key=64, bad_key=errors.TagKeyMalformed, bad_value=errors.TagValueMalformed)

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


# --- Requests -------------------------------------------------------------------------------------------------------


def page_number() -> Any:
    """Return the field of a page number, which counts from 1."""
    return integer("PageNumber", default=1, least=1, most=LAST_PAGE, refusal=errors.BadPageNumber)


def page_size(most: int = 50) -> Any:
    """Return the field of a page size; ten unless given."""
    return integer("PageSize", default=10, least=1, most=most, refusal=errors.BadPageSize)


def next_token() -> Any:
    """Return the field of a NextToken, from the answer before."""
    return text("NextToken", longest=LONGEST_TOKEN, refusal=errors.BadNextToken)


def client_token() -> Any:
    """Return the field of a ClientToken, by which the same call twice is done once."""
    return text("ClientToken", longest=64, pattern=r"[\x20-\x7e]*", refusal=errors.BadClientToken)


def tag_list() -> Any:
    """Return the field of at most MOST_TAGS tags."""
    return repeat_objects("Tag", of=EcsTag, most=MOST_TAGS, refusal=errors.TooManyTags)


@value_object
class InRegion:
    """A request that names its region, as every one does."""

    region_id: str | None = text("RegionId", required=True)


@value_object
class Paged(InRegion):
    """A request for a part of a list, by page or by token. MaxResults counts for pages by token only."""

    next_token: str | None = next_token()
    max_results: int | None = integer("MaxResults", refusal=errors.BadMaxResults)
    page_number: int = page_number()
    page_size: int = page_size()


SomePaged = TypeVar("SomePaged", bound=Paged)


def check_region(call: Call, asked: InRegion) -> None:
    """Raise RegionNotFound unless the request names the region of this installation."""
    if asked.region_id != call.region:
        raise errors.RegionNotFound


# --- Pages ----------------------------------------------------------------------------------------------------------


@value_object
class RequestedPage(Generic[SomePaged]):
    """The page that a request asks for, and the request with the filters that its token carries."""

    asked: SomePaged
    call: Call
    walk: Walk

    @property
    def page(self) -> Page:
        """The page."""
        return self.walk.page

    def answer(self, found: Listing[Any]) -> dict[str, Any]:
        """Return the page fields of an answer. NextToken is empty on the last page, and only there."""
        return {
            "PageNumber": self.page.number,
            "PageSize": self.page.size,
            "TotalCount": found.total,
            "NextToken": self.walk.next_token(self.call, found.ended),
        }


def requested_page(call: Call, asked: SomePaged, *, most: int = 50) -> RequestedPage[SomePaged]:
    """Return the page that a request asks for.

    The page fields have no effect beside NextToken or MaxResults. As in the cloud, a MaxResults out of range becomes
    the nearest value in range.

    Raises:
        BadNextToken: the token is not one that this operation returned for these filters.
    """
    size = None if asked.max_results is None else min(max(asked.max_results, LEAST_RESULTS), most)
    if asked.next_token is not None:
        going_on, walk = walk_on(call, asked, asked.next_token, size)
        return RequestedPage(going_on, call, walk)
    page = Page(asked.page_number, asked.page_size) if size is None else Page(1, size)
    return RequestedPage(asked, call, first_walk(call, asked, page))


# --- Tags -----------------------------------------------------------------------------------------------------------


def read_tags(asked: Sequence[Tag]) -> dict[str, str]:
    """Return the tags that a request gives to a resource.

    Raises:
        EcsError: one of TAG_ERRORS.
    """
    found: dict[str, str] = {}
    for tag in asked:
        if not tag.key:
            raise errors.TagKeyMissing
        if tag.key in found:
            raise errors.TagKeyTwice
        if is_reserved(tag.key) or has_address(tag.key):
            raise errors.TagKeyMalformed
        if has_address(tag.value or ""):
            raise errors.TagValueMalformed
        found[tag.key] = tag.value or ""
    return found


def wanted_tags(asked: Sequence[Tag]) -> list[tuple[str, str | None]]:
    """Return the tags that a request filters by: a key alone means any value.

    Raises:
        TagKeyMissing: a value comes without its key.
    """
    if any(not tag.key for tag in asked):
        raise errors.TagKeyMissing
    return [(tag.key or "", tag.value) for tag in asked]


def give_tags(tx: Transaction, call: Call, kind: str, resource_id: str, asked: Sequence[Tag]) -> None:
    """Give a new resource the tags of the request that makes it. Raises one of TAG_ERRORS."""
    tags = read_tags(asked)
    if tags:
        fleet.set_tags(tx, call.account_id, call.region, kind, [resource_id], tags)


def tags_answer(tags: dict[str, str] | None) -> list[dict[str, str]]:
    """Return tags as answers list them."""
    return [{"TagKey": key, "TagValue": value} for key, value in (tags or {}).items()]


def has_address(text: str) -> bool:
    """Return whether a text has the start of a web address in it."""
    return "http://" in text or "https://" in text


# --- Resources and times --------------------------------------------------------------------------------------------


def instance_arns(call: Call, ids: Sequence[str | None] | None) -> list[str]:
    """Return instances as resources of a policy: all instances if none is named."""
    start = f"acs:ecs:{call.region}:{call.account_id}:instance/"
    return [f"{start}{instance_id}" for instance_id in ids] if ids else [f"{start}*"]


def instances_of_run(
    call: Call, invoke_id: str | None, ids: Sequence[str | None], *, is_file: bool = False
) -> list[str]:
    """Return the instances that a call about an invocation touches: those that it names, or those of the run.

    An invocation that the account does not have stands for all instances: only who may see them learns that.

    Args:
        is_file: the invocation sends a file.
    """
    if ids or not invoke_id:
        return instance_arns(call, ids)
    with call.services.database.reading() as tx:
        wanted = InvocationFilter(ids=[invoke_id], is_file=is_file)
        if not assistant.find_invocations(tx, call.account_id, call.region, wanted, Page(1, 1)).items:
            return instance_arns(call, None)
        return instance_arns(call, assistant.instances_of(tx, invoke_id))


def time_of(moment: datetime | None) -> str:
    """Return a time as the API writes it, and empty text for None."""
    return moment.strftime(TIME) if moment else ""
