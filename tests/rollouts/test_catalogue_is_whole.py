"""The catalogue of failures: each row about rollouts, delivery and blast radius is a test that has its number."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROWS = (20, 21, 22, 43, 48, 49, 50, 51, 53, 54, 55, 56, 57, 59, 60, 61, 62, 70, 71, 72, 73, 79, 80, 81, 83, 86)


@pytest.fixture(scope="module")
def named() -> set[int]:
    """The numbers in names of tests, and in what tests say of themselves."""
    texts = (path.read_text() for path in TESTS.rglob("*.py") if path != Path(__file__))
    return {int(number) for text in texts for number in re.findall(r"\b(?:def test_f|F)(\d\d)(?=\b|_)", text)}


@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_the_catalogue_is_a_test_by_its_number(named: set[int], row: int) -> None:
    """Whoever takes a test away takes a row away."""
    assert row in named
