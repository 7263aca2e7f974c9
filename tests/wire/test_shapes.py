"""Answers against their descriptions."""

from typing import Any

import pytest

from backfleet.wire.shapes import Anything, Maybe, misfits, schema

TASK = {"TaskId": str, "Progress": int, "Open": bool, "Items": [{"Code": Maybe(str), "Share": float}], "Own": Anything}
FITS: dict[str, Any] = {"TaskId": "t-1", "Progress": 1, "Open": True, "Items": [{"Share": 1}], "Own": [None]}


def test_an_answer_that_is_as_described_has_no_misfits() -> None:
    assert list(misfits(TASK, FITS)) == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param({"TaskId": 1}, "answer.TaskId is 1, not of type string", id="a number for text"),
        pytest.param({"Progress": True}, "answer.Progress is True, not of type integer", id="a boolean for a number"),
        pytest.param({"Open": 1}, "answer.Open is 1, not of type boolean", id="a number for a boolean"),
        pytest.param({"Items": {}}, "answer.Items is not a list", id="an object for a list"),
        pytest.param({"Items": ["a"]}, "answer.Items[0] is not an object", id="text for an object"),
        pytest.param({"Items": [{"Share": "1"}]}, "answer.Items[0].Share is '1', not of type number", id="deep within"),
        pytest.param({"Items": [{}]}, "answer.Items[0].Share is missing", id="a member missing"),
        pytest.param({"More": 1}, "answer.More is not described", id="a member too many"),
    ],
)
def test_a_misfit_is_named(changed: dict[str, Any], message: str) -> None:
    assert list(misfits(TASK, {**FITS, **changed})) == [message]


def test_the_schema_says_the_same() -> None:
    found = schema(TASK)
    assert found["required"] == ["TaskId", "Progress", "Open", "Items", "Own"]
    assert found["properties"]["Items"]["items"] == {
        "type": "object",
        "properties": {"Code": {"type": "string"}, "Share": {"type": "number"}},
        "required": ["Share"],
        "additionalProperties": False,
    }
    assert found["properties"]["Own"] == {}
