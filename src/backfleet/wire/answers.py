"""Result or error -> JSON or XML body, status, RequestId: the one place that renders what a caller sees."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from xml.sax.saxutils import escape

from backfleet.wire.errors import ApiError

JSON_TYPE = "application/json;charset=utf-8"
XML_TYPE = "text/xml;charset=utf-8"  # this text exactly: the official client looks for it
LONGEST_HOST = 255  # characters of HostId
CARRIAGE_RETURN = {"\r": "&#13;"}  # a reader of XML takes a bare one for a line feed

_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class WireAnswer:
    """What goes back: status, body, and the headers that belong to it."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def success(action: str, result: Mapping[str, Any], request_id: str, *, xml: bool) -> WireAnswer:
    """A result. RequestId is added; fields that are None are left out, for some clients stumble over null."""
    return _render(200, f"{action}Response", {"RequestId": request_id, **result}, request_id, xml=xml)


def failure(error: ApiError, request_id: str, host_id: str, *, xml: bool) -> WireAnswer:
    """A refusal. Every value is a string but AccessDeniedDetail: a client of the family stops at anything else."""
    body: dict[str, Any] = {
        "RequestId": request_id,
        "HostId": host_id[:LONGEST_HOST],
        "Code": error.code,
        "Message": error.message,
        "Recommend": f"docs/api.md#errors ({error.code})",
    }
    answer = _render(error.status, "Error", body | error.extra, request_id, xml=xml)
    return replace(answer, headers={**answer.headers, **error.headers})


def _render(status: int, root: str, value: Mapping[str, Any], request_id: str, *, xml: bool) -> WireAnswer:
    headers = {
        "x-acs-request-id": request_id,
        "x-acs-trace-id": request_id.replace("-", "").lower(),
        "Content-Type": XML_TYPE if xml else JSON_TYPE,
        "Cache-Control": "no-store",  # answers to a GET can hold secrets
    }
    kept = _without_none(value)
    if xml:
        text = f'<?xml version="1.0" encoding="UTF-8"?>{_element(root, kept)}'
    else:
        text = json.dumps(kept, ensure_ascii=False, separators=(",", ":"))
    # What came in can be repeated in an error; half a character in it must not break the answer.
    return WireAnswer(status, text.encode(errors="replace"), headers)


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_none(member) for name, member in value.items() if member is not None}
    if isinstance(value, list | tuple):
        return [_without_none(member) for member in value]
    return value


def _element(name: str, value: Any) -> str:
    """One element; a list repeats it."""
    if isinstance(value, Mapping):
        return f"<{name}>{''.join(_element(member, inner) for member, inner in value.items())}</{name}>"
    if isinstance(value, list | tuple):
        return "".join(_element(name, member) for member in value)
    if isinstance(value, bool):
        value = "true" if value else "false"
    return f"<{name}>{escape(_NOT_IN_XML.sub('', str(value)), CARRIAGE_RETURN)}</{name}>"
