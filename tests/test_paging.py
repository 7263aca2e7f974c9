"""Pages of long lists."""

import pytest

from backfleet.paging import Page


@pytest.mark.parametrize(("page", "offset"), [(Page(), 0), (Page(1, 50), 0), (Page(2, 50), 50), (Page(4, 1), 3)])
def test_the_offset_is_the_number_of_items_before_the_page(page: Page, offset: int) -> None:
    """Page numbers count from 1."""
    assert page.offset == offset


def test_after_a_position_nothing_is_left_out() -> None:
    """The number then only counts the pages."""
    assert Page(7, 50, after=("a", 1)).offset == 0
