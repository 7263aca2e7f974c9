"""What RAM operations have in common: resources of policies, and parts of lists."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from backfleet.operations.catalogue import Call
from backfleet.operations.ram import naming
from backfleet.operations.ram.errors import BadParameter, bad_parameter
from backfleet.values import value_object
from backfleet.wire.parameters import integer, text
from backfleet.wire.shapes import Maybe

Arns = Callable[[Call, Any], list[str]]
PAGED: Final = {"IsTruncated": bool, "Marker": Maybe(str)}
BAD_MARKER: Final = bad_parameter("Marker", "Format")


def arn_of(kind: str, field: str) -> Arns:
    """Return the function that gives the ARN of what a call is about: of this kind, named by this request field."""
    return lambda call, asked: [f"acs:ram::{call.account_id}:{kind}/{getattr(asked, field)}"]


def arns_of_renaming(kind: str, field: str) -> Arns:
    """Return the function that gives the ARN, and the one under a new name: renaming needs permission on both."""

    def arns(call: Call, asked: Any) -> list[str]:
        names = [getattr(asked, field)] + ([asked.new_name] if asked.new_name else [])
        return [f"acs:ram::{call.account_id}:{kind}/{name}" for name in names]

    return arns


def every_arn(kind: str) -> Arns:
    """Return the function that gives the ARN of everything of this kind in the account."""
    return lambda call, asked: [f"acs:ram::{call.account_id}:{kind}/*"]


@value_object
class Listed:
    """A part of a list: at most MaxItems, from the Marker of the part before on."""

    marker: str = text("Marker", default="", longest=naming.ON_THE_WIRE, raw=True)
    max_items: int = integer("MaxItems", default=100, least=1, most=1000)


def after_name(marker: str) -> str:
    """Return the name after which a part of a list begins. Raises BadParameter."""
    try:
        return naming.user_name(marker) if marker else ""
    except BadParameter:
        raise BAD_MARKER("It is the Marker of the answer before.") from None


def paged(found: Sequence[Any], asked: Listed) -> dict[str, Any]:
    """Return whether the list goes on, and the marker of its next part: the last name of this part.

    Args:
        found: one item more than was asked for, if there is one.
    """
    more = len(found) > asked.max_items
    return {"IsTruncated": more, "Marker": found[asked.max_items - 1].name if more else None}
