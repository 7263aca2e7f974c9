"""Parameters in the content of a command."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.assistant.content import (
    BadName,
    EmptyName,
    LongName,
    TooManyNames,
    fill_in,
    longest_content,
    parameter_names,
    unknown_parameters,
)

TEXT = st.text("ab{} \n$'", max_size=30)
VALUES = st.dictionaries(st.sampled_from(["a", "b", "ab"]), TEXT)


def test_each_name_is_found_once_in_its_order() -> None:
    """Blanks around a name do not count, and built-in parameters are left out."""
    assert parameter_names("{{b}} {{ a }} {{b}} {{ACS::InstanceId}} {x} ${y}") == ["b", "a"]
    assert unknown_parameters(["a"], {"a": "1", "c": "2"}) == ["c"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{{}}", EmptyName),
        ("{{ }}", EmptyName),
        ("{{a.b}}", BadName),
        ("{{ACS::Nothing}}", BadName),
        ("{{oos:secret}}", BadName),
        ("{{" + "a" * 65 + "}}", LongName),
        ("".join(f"{{{{a{n}}}}}" for n in range(21)), TooManyNames),
    ],
)
def test_a_bad_parameter_name_is_refused(content: str, problem: type[Exception]) -> None:
    """Each kind has an error of its own."""
    with pytest.raises(problem):
        parameter_names(content)


def test_braces_in_a_value_are_not_filled_in() -> None:
    """A value is data."""
    assert fill_in("{{a}} {{b}} {{c}}", {"a": "{{b}}", "b": "1"}) == "{{b}} 1 {{c}}"


@given(content=TEXT.map(lambda text: f"{{{{a}}}}{text}{{{{b}}}}"), values=VALUES)
def test_the_longest_content_is_known_before_filling_in(content: str, values: dict[str, str]) -> None:
    """It is exact where no built-in parameter is used."""
    assert longest_content(content, values, 0) == len(fill_in(content, values))
