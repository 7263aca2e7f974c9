"""What can be stored, signed and sent as text."""

import json

import pytest

from backfleet_host.texts import is_text


@pytest.mark.parametrize("value", ["", "a", "ä\n\t", "\U0001f600"])
def test_text_is_text(value: str) -> None:
    assert is_text(value)
    assert value.encode().decode() == value


@pytest.mark.parametrize("value", ["a\0", json.loads('"\\ud83d"'), "\udfff", 1, None, b"a"])
def test_halves_of_characters_and_nul_are_no_text(value: object) -> None:
    assert not is_text(value)
