"""Answers against their descriptions."""

from typing import Any

import pytest

from backfleet.wire.shapes import Anything, Maybe, misfits, schema

TASK = {"TaskId": str, "Progress": int, "Open": bool, "Items": [{"Code": Maybe(str), "Share": float}], "Own": Anything}
FITS: dict[str, Any] = {"TaskId": "t-1", "Progress": 1, "Open": True, "Items": [{"Share": 1}], "Own": [None]}


def test_an_answer_that_is_as_described_fits() -> None:
    assert list(misfits(TASK, FITS)) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        pytest.param({"TaskId": 1}, "answer.TaskId is 1, no string", id="a number for text"),
        pytest.param({"Progress": True}, "answer.Progress is True, no integer", id="a boolean for a number"),
        pytest.param({"Open": 1}, "answer.Open is 1, no boolean", id="a number for a boolean"),
        pytest.param({"Items": {}}, "answer.Items is no list", id="an object for a list"),
        pytest.param({"Items": ["a"]}, "answer.Items[0] is no object", id="text for an object"),
        pytest.param({"Items": [{"Share": "1"}]}, "answer.Items[0].Share is '1', no number", id="deep within"),
        pytest.param({"Items": [{}]}, "answer.Items[0].Share is missing", id="a member missing"),
        pytest.param({"More": 1}, "answer.More is not described", id="a member too many"),
    ],
)
def test_what_does_not_fit_is_named(changed: dict[str, Any], said: str) -> None:
    assert list(misfits(TASK, {**FITS, **changed})) == [said]


def test_the_schema_says_the_same() -> None:
    said = schema(TASK)
    assert said["required"] == ["TaskId", "Progress", "Open", "Items", "Own"]
    assert said["properties"]["Items"]["items"] == {
        "type": "object",
        "properties": {"Code": {"type": "string"}, "Share": {"type": "number"}},
        "required": ["Share"],
        "additionalProperties": False,
    }
    assert said["properties"]["Own"] == {}
