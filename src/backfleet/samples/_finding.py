"""Find an operation by the name that a person typed."""

from difflib import get_close_matches

from backfleet.operations.catalogue import Operation, every_operation
from backfleet.samples._call import BadCall


def find_operation(name: str) -> Operation:
    """Return the operation of a name such as `DescribeTask`, or `hbr:DescribeRegions` where two products have it.

    Letter case does not matter.

    Raises:
        BadCall: there is none, or more than one; the text names those that come close.
    """
    product, _, action = name.rpartition(":")
    every = [each for each in every_operation() if not product or each.product.code == product.lower()]
    found = [each for each in every if each.name == action] or [
        each for each in every if each.name.lower() == action.lower()
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadCall(f"{action} is an operation of {len(found)} products; write {' or '.join(map(_full, found))}")
    lower = {each.name.lower(): each for each in every or every_operation()}
    close = [lower[each].name for each in get_close_matches(action.lower(), lower, n=3, cutoff=0.6)]
    hint = f"did you mean {' or '.join(close)}?" if close else "docs/reference lists them all"
    raise BadCall(f"there is no operation {name!r}; {hint}")


def _full(operation: Operation) -> str:
    return f"{operation.product.code}:{operation.name}"
