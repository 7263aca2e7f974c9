"""NextToken: where a walk through a list goes on, sealed, so that nobody can make one up.

It carries the account, the operation, the size of the parts, the filters of the call that began the walk, and the last
item's place in the order: a walk misses nothing and repeats nothing, whatever is deleted or added meanwhile.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from backfleet.identity import CannotOpen
from backfleet.operations.catalogue import Call
from backfleet.operations.ecs import errors
from backfleet.paging import Page, Position
from backfleet.values import value_object
from backfleet.wire.parameters import flatten, parameters_of, parse

PURPOSE: Final = "next tokens"
LONGEST_FILTERS: Final = 1500  # characters; longer ones are only compared, so that a token stays short enough for a URL
OF_A_PART: Final = frozenset({"NextToken", "MaxResults", "PageNumber", "PageSize"})
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
Request = TypeVar("Request")


@value_object
class Walk:
    """A walk through a list: which one, and the part that is asked for."""

    request: str  # the type of the request, one of each operation
    account_id: str
    filters: Mapping[str, str]
    page: Page

    def next_token(self, call: Call, ended: Position | None) -> str:
        """Return the token of the part after this one; empty text after the last."""
        if ended is None:
            return ""
        written = json.dumps(self.filters, sort_keys=True)
        facts = {
            "request": self.request,
            "account": self.account_id,
            "number": self.page.number + 1,
            "size": self.page.size,
            "filters": written if len(written) <= LONGEST_FILTERS else "",
            "digest": _digest(self.filters),
            "after": [_written(value) for value in ended],
        }
        return call.services.vault.box(PURPOSE).seal(json.dumps(facts))


def walk_on(call: Call, asked: Request, token: str, size: int | None) -> tuple[Request, Walk]:
    """Return the request with the filters of its walk, and where the walk goes on.

    Args:
        call: Who asks.
        asked: The request. Its filters are those of the walk, or left out.
        token: The NextToken of the part before.
        size: How many items this part has at most; None for as many as the part before.

    Raises:
        BadNextToken: the token is not one of ours, or belongs to another list.
    """
    try:
        facts: dict[str, Any] = json.loads(call.services.vault.box(PURPOSE).unseal(token))
    except CannotOpen:
        raise errors.BadNextToken from None
    if (facts["request"], facts["account"]) != (type(asked).__name__, call.account_id):
        raise errors.BadNextToken
    filters = filters_of(asked)
    if facts["digest"] != _digest(filters):
        if not facts["filters"] or filters != _least(type(asked), filters):
            raise errors.BadNextToken("The specified parameter is invalid: NextToken is of a list with other filters.")
        asked = parse(type(asked), filters | json.loads(facts["filters"]))
        filters = filters_of(asked)
        if facts["digest"] != _digest(filters):
            raise errors.BadNextToken
    page = Page(facts["number"], size or facts["size"], tuple(_read(value) for value in facts["after"]))
    return asked, Walk(type(asked).__name__, call.account_id, filters, page)


def first_walk(call: Call, asked: Any, page: Page) -> Walk:
    """Return the walk that a request without a token begins, at this page."""
    return Walk(type(asked).__name__, call.account_id, filters_of(asked), replace(page, after=None))


def filters_of(asked: Any) -> dict[str, str]:
    """Return the parameters of a request but those that choose the part."""
    return {name: value for name, value in flatten(asked).items() if name not in OF_A_PART}


def _least(request: type[Any], filters: Mapping[str, str]) -> dict[str, str]:
    """Return the filters of a request that gives nothing but what it must."""
    required = {parameter.name for parameter in parameters_of(request) if parameter.required}
    return filters_of(parse(request, {name: value for name, value in filters.items() if name in required}))


def _digest(filters: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(filters, sort_keys=True).encode()).hexdigest()


def _written(value: datetime | int | str) -> int | str | dict[str, int]:
    return {"ms": (value - EPOCH) // timedelta(milliseconds=1)} if isinstance(value, datetime) else value


def _read(value: int | str | dict[str, int]) -> datetime | int | str:
    return EPOCH + timedelta(milliseconds=value["ms"]) if isinstance(value, dict) else value
