"""Parameters in a command's content."""

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


def test_names_come_in_their_order_and_once() -> None:
    """Blanks around them do not count, built-in ones are nobody's to give."""
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
def test_what_is_no_parameter(content: str, problem: type[Exception]) -> None:
    """Each for its own reason."""
    with pytest.raises(problem):
        parameter_names(content)


def test_braces_in_a_value_stay() -> None:
    """A value is data: it is not looked at again."""
    assert fill_in("{{a}} {{b}} {{c}}", {"a": "{{b}}", "b": "1"}) == "{{b}} 1 {{c}}"


@given(content=TEXT.map(lambda text: f"{{{{a}}}}{text}{{{{b}}}}"), values=VALUES)
def test_the_length_is_known_before(content: str, values: dict[str, str]) -> None:
    """Exactly, but for built-in parameters."""
    assert longest_content(content, values, 0) == len(fill_in(content, values))
