"""Result or error -> JSON or XML body, status and request id: the one place that renders answers."""

import json
import re
from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any
from xml.sax.saxutils import escape

from backfleet.values import value_object
from backfleet.wire.errors import ApiError

JSON_TYPE = "application/json;charset=utf-8"
XML_TYPE = "text/xml;charset=utf-8"  # the official client looks for exactly this text
LONGEST_HOST = 255  # characters of HostId
CARRIAGE_RETURN = {"\r": "&#13;"}  # XML readers take a bare one for a line feed
PLAIN = frozenset({str, int, bool, float})

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=dict)  # of a Mapping that is no dict
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@value_object
class WireAnswer:
    """An answer on the wire: status, body and headers."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def success(action: str, result: Mapping[str, Any], request_id: str, *, xml: bool) -> WireAnswer:
    """Render a result with its RequestId. Fields that are None are left out: some clients fail on null."""
    return _render(200, f"{action}Response", {"RequestId": request_id, **result}, request_id, xml=xml)


def failure(error: ApiError, request_id: str, host_id: str, *, xml: bool) -> WireAnswer:
    """Render a refusal. Every value but AccessDeniedDetail is a string: one official client fails on anything else."""
    body: dict[str, Any] = {
        "RequestId": request_id,
        "HostId": host_id[:LONGEST_HOST],
        "Code": error.code,
        "Message": error.message,
        "Recommend": f"{error.advice} docs/api.md#errors ({error.code})".lstrip(),
    }
    answer = _render(error.status, "Error", body | error.extra, request_id, xml=xml)
    return replace(answer, headers={**answer.headers, **error.headers})


def _render(status: int, root: str, value: Mapping[str, Any], request_id: str, *, xml: bool) -> WireAnswer:
    headers = {
        "x-acs-request-id": request_id,
        "x-acs-trace-id": request_id.replace("-", "").lower(),
        "Content-Type": XML_TYPE if xml else JSON_TYPE,
        "Cache-Control": "no-store",  # answers to a GET may hold secrets
    }
    if xml:
        text = f'<?xml version="1.0" encoding="UTF-8"?>{_element(root, _without_none(value))}'
    else:
        text = _JSON.encode(value)
        if _has_null(text):  # rarely: to write an answer twice takes less than to look at each member of all of them
            text = _JSON.encode(_without_none(value))
    # An error may repeat what came in; half a character in that must not break the answer.
    return WireAnswer(status, text.encode(errors="replace"), headers)


def _has_null(text: str) -> bool:
    """Return whether a member may be null. One of an answer that is text in this answer has an escaped name."""
    return text.count('":null') > text.count('\\":null')


def _without_none(value: Any) -> Any:
    if type(value) in PLAIN:  # most of an answer is, and to ask whether something is a Mapping takes longer
        return value
    if isinstance(value, Mapping):
        return {
            name: member if type(member) in PLAIN else _without_none(member)
            for name, member in value.items()
            if member is not None
        }
    if isinstance(value, list | tuple):
        return [_without_none(member) for member in value]
    return value


def _element(name: str, value: Any) -> str:
    """Return one element; a list repeats it."""
    if isinstance(value, Mapping):
        return f"<{name}>{''.join(_element(member, inner) for member, inner in value.items())}</{name}>"
    if isinstance(value, list | tuple):
        return "".join(_element(name, member) for member in value)
    if isinstance(value, bool):
        value = "true" if value else "false"
    return f"<{name}>{escape(_NOT_IN_XML.sub('', str(value)), CARRIAGE_RETURN)}</{name}>"
