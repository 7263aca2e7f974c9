"""Value objects: equal by their fields, with a hash, and made anew where one field differs."""

from dataclasses import replace

import pytest

from backfleet.values import changed, value_object


@value_object
class Place:
    """A sample."""

    name: str
    port: int = 80


def test_values_with_equal_fields_are_equal() -> None:
    """They count once in a set, and one with another field is another value."""
    assert len({Place("a"), Place("a", 80), Place("a", 81)}) == 2
    assert replace(Place("a"), port=81) == Place("a", 81) != Place("a")


def test_some_fields_are_changed_and_the_others_kept() -> None:
    """The value itself stays as it was. A name that is misspelt is an error."""
    one = Place("a", 81)
    assert changed(one, port=82) == Place("a", 82)
    assert changed(one, port=80, name="b") == Place("b")
    assert changed(one) == one == Place("a", 81)
    with pytest.raises(KeyError, match="prot"):
        changed(one, prot=82)


def test_a_value_has_no_other_fields() -> None:
    """A name that is misspelt is an error, not a new field."""
    with pytest.raises(AttributeError):
        Place("a").prot = 81  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="prot"):
        Place("a", prot=81)  # type: ignore[call-arg]
