"""Flat names <-> typed requests: what official clients send is read, everything else is refused with an explanation."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.wire.errors import ApiError, InvalidParameter, MissingParameter
from backfleet.wire.parameters import (
    boolean,
    flatten,
    integer,
    json_list,
    json_object,
    merge,
    parameters_of,
    parse,
    repeat,
    repeat_objects,
    text,
)


@dataclass(frozen=True, slots=True)
class Tag:
    key: str | None = text("Key", required=True)
    value: str | None = text("Value")


@dataclass(frozen=True, slots=True)
class Filter:
    key: str | None = text("Key")
    values: tuple[str, ...] = repeat("Values")


@dataclass(frozen=True, slots=True)
class Asked:
    """One of every kind."""

    name: str | None = text("Name", longest=20)
    kind: str | None = text("Kind", choices=("A", "B"), default="A")
    page_size: int | None = integer("PageSize", default=10, least=1, most=99)
    dry_run: bool | None = boolean("DryRun", default=False)
    instance_ids: tuple[str, ...] | None = json_list("InstanceIds")
    settings: dict[str, Any] | None = json_object("Settings")
    zone: tuple[str, ...] = repeat("Zone", most=3)
    tag: tuple[Tag, ...] = repeat_objects("Tag", of=Tag, most=20)
    filters: tuple[Filter, ...] = repeat_objects("Filters", of=Filter)


@dataclass(frozen=True, slots=True)
class Needy:
    """What must be given."""

    task_id: str | None = text("TaskId", required=True, pattern="t-[a-z0-9]+")


def refused(**flat: str) -> str:
    """The words with which these parameters are refused."""
    with pytest.raises(InvalidParameter) as problem:
        parse(Asked, {name.replace("__", "."): value for name, value in flat.items()})
    return problem.value.message


def test_without_parameters_the_defaults_apply() -> None:
    """Absent and empty are the same; unknown parameters such as RegionId are ignored."""
    expected = Asked(None, "A", 10, False, None, None, (), (), ())
    assert parse(Asked, {}) == expected
    assert parse(Asked, {"Name": "", "PageSize": "", "InstanceIds": "", "RegionId": "cn-x"}) == expected


def test_a_missing_parameter_is_named() -> None:
    """With the text of the common error table."""
    with pytest.raises(MissingParameter, match=r"^TaskId is mandatory for this action\.$"):
        parse(Needy, {"TaskId": ""})
    with pytest.raises(MissingParameter, match=r"^Tag\.2\.Key is mandatory"):
        parse(Asked, {"Tag.2.Value": "x"})


@pytest.mark.parametrize(
    ("sent", "means"), [("True", True), ("true", True), ("1", True), ("False", False), ("0", False)]
)
def test_booleans_are_read_in_every_spelling(sent: str, means: bool) -> None:
    """Python clients capitalise them, the others do not."""
    assert parse(Asked, {"DryRun": sent}).dry_run is means


@pytest.mark.parametrize(
    ("sent", "means"),
    [
        ({"InstanceIds": '["i-1","i-2"]'}, ("i-1", "i-2")),
        ({"InstanceIds": '["i-1", "i-2"]'}, ("i-1", "i-2")),
        ({"InstanceIds": "[]"}, ()),
        ({"InstanceIds": '{"0":"i-1","1":"i-2"}'}, ("i-1", "i-2")),
        ({"InstanceIds.2": "i-2", "InstanceIds.10": "i-10", "InstanceIds.1": "i-1"}, ("i-1", "i-2", "i-10")),
    ],
)
def test_a_list_of_ids_is_read_in_three_forms(sent: dict[str, str], means: tuple[str, ...]) -> None:
    """JSON array, JSON object by its values, and repeated names sorted by number, in any order and with gaps."""
    assert parse(Asked, sent).instance_ids == means


def test_a_value_that_is_not_a_list_is_explained() -> None:
    """The refusal says what was found and what a list looks like."""
    assert "null" in refused(InstanceIds="null")
    assert "a string instead of a list" in refused(InstanceIds="null")
    assert "is a string" in refused(InstanceIds='"i-1"')
    assert "a number in it" in refused(InstanceIds="[1]")
    assert "a list in it" in refused(InstanceIds='[["i-1"]]')
    assert "a boolean in it" in refused(InstanceIds='{"i-1":true}')
    assert "must be JSON" in refused(InstanceIds="i-1")
    assert "must be JSON" in refused(InstanceIds="[" * 100_000)
    assert "must be JSON" in refused(InstanceIds='{"0":"i-1","0":"i-2"}')
    assert "1 to 128 characters" in refused(InstanceIds='[""]')
    assert "1 to 128 characters" in refused(InstanceIds=json.dumps(["i" * 129]))
    assert "both as JSON text and" in refused(InstanceIds="[]", InstanceIds__1="i-1")
    assert "given twice" in refused(InstanceIds__1="i-1", InstanceIds__01="i-2")
    for unkeepable in ('["\\u0000"]', '["\\ud800"]'):
        assert "not text" in refused(InstanceIds=unkeepable)


def test_values_out_of_bounds_are_named() -> None:
    """The name, what was found, and what is accepted."""
    assert refused(PageSize="0") == "PageSize is 0; it must be from 1 to 99."
    assert refused(PageSize="ten") == "PageSize is 'ten'; it must be a whole number."
    assert "whole number" in refused(PageSize="9" * 20)
    assert "whole number" in refused(PageSize="\u0661")  # a digit, but not of ours
    assert refused(Name="n" * 21) == "Name has 21 characters; at most 20 are accepted."
    assert refused(Kind="C") == "Kind is 'C'; it must be one of A, B."
    assert "at most 3" in refused(**{f"Zone__{number}": "z" for number in range(1, 5)})
    assert "at most 20" in refused(**{f"Tag__{number}__Key": "k" for number in range(21)})
    assert "must be a JSON object" in refused(Settings="[]")
    with pytest.raises(InvalidParameter, match=r"of the form|has the character"):
        parse(Needy, {"TaskId": "t-1\n"})


def test_a_long_value_is_not_repeated_in_full() -> None:
    """An error stays a sentence, however much was sent."""
    assert len(refused(PageSize="x" * 10_000)) < 200


def test_members_of_tags_may_be_lower_case() -> None:
    """As ECS documents it, but not in both cases at once."""
    assert parse(Asked, {"Tag.1.key": "k", "Tag.1.value": "v"}).tag == (Tag("k", "v"),)
    assert "given twice" in refused(Tag__1__key="a", Tag__1__Key="b")


def test_lists_within_repeated_objects_are_read() -> None:
    """`Filters.N.Values.M`, as official clients send lists of filters."""
    asked = parse(Asked, {"Filters.1.Key": "k", "Filters.1.Values.2": "b", "Filters.1.Values.1": "a"})
    assert asked.filters == (Filter("k", ("a", "b")),)


def test_a_name_given_twice_is_refused() -> None:
    """In the query, in the form, or with another value in each. The same value in both is one."""
    assert merge([("a", "1")], [("b", "2")]) == {"a": "1", "b": "2"}
    assert merge([("a", "1"), ("b", "")], [("b", ""), ("a", "1")]) == {"a": "1", "b": ""}
    for sources in ([[("a", "1"), ("a", "1")]], [[("a", "1")], [("a", "2")]]):
        with pytest.raises(InvalidParameter, match="given twice"):
            merge(*sources)
    with pytest.raises(InvalidParameter, match="NUL"):
        merge([("a", "x\0")])


def test_a_request_describes_its_parameters() -> None:
    """Names and kinds, in order: the reference is made from them."""
    assert [(p.name, p.kind) for p in parameters_of(Needy)] == [("TaskId", "string")]
    assert parameters_of(Needy)[0].required


words = st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp")), min_size=1, max_size=20)
tags = st.builds(Tag, words, st.none() | words)
requests = st.builds(
    Asked,
    name=st.none() | words,
    kind=st.sampled_from(["A", "B"]),
    page_size=st.integers(1, 99),
    dry_run=st.booleans(),
    instance_ids=st.none() | st.lists(words).map(tuple),
    settings=st.none() | st.dictionaries(words, words | st.integers(-(2**53), 2**53) | st.booleans() | st.none()),
    zone=st.lists(words, max_size=3).map(tuple),
    tag=st.lists(tags, max_size=20).map(tuple),
    filters=st.lists(st.builds(Filter, words, st.lists(words).map(tuple)), max_size=5).map(tuple),
)


@given(requests)
def test_a_flattened_request_can_be_parsed(asked: Asked) -> None:
    """There and back, for every kind of parameter."""
    assert parse(Asked, flatten(asked)) == asked


names = st.sampled_from(["Name", "Kind", "PageSize", "DryRun", "InstanceIds", "Settings"]) | st.from_regex(
    r"\A(Zone|Tag|Filters|InstanceIds)(\.[0-9]{0,5}){0,2}(\.(Key|key|Values|Value))?(\.1)?\Z"
)
values = st.text(max_size=20) | st.sampled_from(["null", "[]", "[{}]", "{}", "[null]", "1e999", "NaN", '"', "[1", "-1"])


@given(st.dictionaries(names, values, max_size=10))
def test_whatever_is_sent_is_read_or_refused(flat: dict[str, str]) -> None:
    """Never anything but a request or an error of the protocol."""
    problem = None
    try:
        parse(Asked, flat)
    except ApiError as refusal:
        problem = refusal
    assert problem is None or (problem.status == 400 and len(problem.message) < 400)


def test_an_operations_own_error_replaces_the_common_one() -> None:
    """A missing parameter stays MissingParameter."""

    class TooLong(ApiError):
        code, status = "Name.ExceedLimit", 403

        def __init__(self) -> None:
            super().__init__("too long")

    @dataclass(frozen=True, slots=True)
    class Own:
        name: str | None = text("Name", required=True, longest=3, refusal=TooLong)

    assert parse(Own, {"Name": "abc"}).name == "abc"
    with pytest.raises(TooLong):
        parse(Own, {"Name": "abcd"})
    with pytest.raises(MissingParameter):
        parse(Own, {})
