"""What is asked of Prometheus and of webhooks, and what their answers mean. Pure."""

import json
import math
from typing import Any
from urllib.parse import quote

from backfleet.outbound import Reply
from backfleet.rollouts.model import CheckAnswer
from backfleet.rollouts.policy import Prometheus


def query_url(base: str, query: str) -> str:
    """Return where an instant query is asked. Source: Prometheus, HTTP API."""
    return f"{base.rstrip('/')}/api/v1/query?query={quote(query, safe='')}"


def read_metric(check: Prometheus, reply: Reply) -> CheckAnswer:
    """Return whether the one value that a query gave is within its bound."""
    if reply.status != 200:
        return CheckAnswer(False, f"it answered {reply.status}")
    try:
        document = json.loads(reply.body)
        if document["status"] != "success":
            return CheckAnswer(False, f"it refuses the query: {str(document.get('error'))[:200]}")
        data = document["data"]
        value = _one_value(data.get("resultType"), data.get("result"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return CheckAnswer(False, "its answer is none of Prometheus")
    if isinstance(value, str):
        return CheckAnswer(False, value)
    bound, holds = (check.below, value < check.below) if check.below is not None else (check.above, False)
    if check.above is not None:
        holds = value > check.above
    name = "below" if check.below is not None else "above"
    return CheckAnswer(holds, f"the query gives {value:g}; it must be {name} {bound:g}")


def read_consent(reply: Reply) -> CheckAnswer:
    """Return whether a webhook agreed: 200 with `{"proceed": true}`, and nothing else."""
    if reply.status != 200:
        return CheckAnswer(False, f"it answered {reply.status}")
    try:
        document = json.loads(reply.body)
    except (ValueError, RecursionError):
        return CheckAnswer(False, "its answer is no JSON")
    if not isinstance(document, dict) or document.get("proceed") is not True:
        return CheckAnswer(False, 'its answer is not {"proceed": true}')
    return CheckAnswer(True, "it agreed")


def _one_value(kind: Any, result: Any) -> float | str:
    """Return the value of a query's result, or why it has none."""
    if kind == "scalar":
        samples = [result]
    elif kind == "vector":
        samples = [each["value"] for each in result]
    else:
        return f"the query gives no number, but {str(kind)[:20]}"
    if len(samples) != 1:
        return f"the query gives {len(samples)} values; it must give one"
    value = float(samples[0][1])
    return value if math.isfinite(value) else f"the query gives {value}"
