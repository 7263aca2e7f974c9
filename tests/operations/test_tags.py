"""The Tag that requests of every product share."""

import pytest

from backfleet.operations.ecs import errors
from backfleet.operations.ecs.requests import EcsTag
from backfleet.operations.tags import Tag, tag_type
from backfleet.wire.errors import InvalidParameter
from backfleet.wire.parameters import parse


def test_a_tag_has_a_key_and_perhaps_a_value() -> None:
    """Both are texts of at most 128 characters."""
    assert parse(Tag, {"Key": "team"}) == Tag("team", None)
    assert parse(Tag, {"Key": "k" * 128, "Value": "v" * 128}).value == "v" * 128
    with pytest.raises(InvalidParameter):
        parse(Tag, {"Key": "k" * 129})


def test_a_kind_of_tag_has_its_own_limit() -> None:
    """And is a Tag all the same."""
    short = tag_type(longest_key=64)
    assert isinstance(parse(short, {"Key": "k" * 64}), Tag)
    with pytest.raises(InvalidParameter):
        parse(short, {"Key": "k" * 65})


def test_ecs_has_its_own_errors() -> None:
    """One for keys and one for values."""
    with pytest.raises(errors.TagKeyMalformed):
        parse(EcsTag, {"Key": "k" * 65})
    with pytest.raises(errors.TagValueMalformed):
        parse(EcsTag, {"Key": "k", "Value": "v" * 129})
