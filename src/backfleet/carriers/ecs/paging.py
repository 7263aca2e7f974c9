"""Lists that a cloud gives in pages: bounded, whatever it answers."""

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from backfleet.carriers.ecs.problems import bad_answer
from backfleet.fleet import CarrierKind

PAGE: Final = 50  # items of one page
MOST_PAGES: Final = 200
LONGEST_TOKEN: Final = 4096  # characters of the token of a next page

One = TypeVar("One")


def pages(
    cloud: CarrierKind, action: str, ask: Callable[[str], tuple[One, object]], most: int = MOST_PAGES
) -> Iterator[One]:
    """Return every page of a list, each once, and each when it is asked for.

    Args:
        cloud: whose list it is.
        action: the operation, such as `ecs:DescribeInstances`.
        ask: returns the page with this token ("" = the first one), and the next one's token.
        most: pages that such a list has.

    Raises:
        EcsProblem: there is no answer, or the list does not end.
    """
    tokens = {""}
    token = ""
    while True:
        page, following = ask(token)
        token = token_of(cloud, action, following)
        yield page
        if not token:
            return
        if token in tokens or len(tokens) >= most:
            raise bad_answer(cloud, action, f"a list that does not end (page {len(tokens)})")
        tokens.add(token)


def token_of(cloud: CarrierKind, action: str, given: object) -> str:
    """Return the token of a next page; "" = there is none. Raises EcsProblem."""
    token = str(given or "")
    if len(token) > LONGEST_TOKEN:
        raise bad_answer(cloud, action, f"a token of {len(token)} characters")
    return token
