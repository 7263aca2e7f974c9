"""What can be stored, signed and sent as text."""

import json

import pytest

from backfleet_host.texts import first_and_last, is_text, printable


@pytest.mark.parametrize("value", ["", "a", "ä\n\t", "\U0001f600"])
def test_text_is_text(value: str) -> None:
    assert is_text(value)
    assert value.encode().decode() == value


@pytest.mark.parametrize("value", ["a\0", json.loads('"\\ud83d"'), "\udfff", 1, None, b"a"])
def test_halves_of_characters_and_nul_are_no_text(value: object) -> None:
    assert not is_text(value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("größer 1.2-rc", "größer 1.2-rc", id="ordinary"),
        pytest.param("a\nb", "a\\nb", id="a line break"),
        pytest.param("\x1b[2J", "\\x1b[2J", id="an escape sequence"),
        pytest.param("\x9b2J", "\\x9b2J", id="one in a single character"),
        pytest.param("\u202eexe", "\\u202eexe", id="text from right to left"),
        pytest.param("\ud800", "\\ud800", id="half a character"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, shown: str) -> None:
    """So that it can be shown on a terminal."""
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("text", "most", "cut"),
    [
        ("short", 5, "short"),
        ("first\nsecond\n" + "x\n" * 100 + "before\nlast", 47, "first\nsecond\n[...]\n" + "x\n" * 7 + "before\nlast"),
        ("x" * 100, 37, "x" * 10 + "\n[...]\n" + "x" * 20),
        ("x" * 100, 3, "\n[."),
    ],
)
def test_of_a_long_text_the_first_and_the_last_lines_stay(text: str, most: int, cut: str) -> None:
    assert first_and_last(text, most) == cut
