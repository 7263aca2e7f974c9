"""Answers that are short, and how they begin on a connection without the HTTP server."""

import json
import re
from collections.abc import Mapping
from dataclasses import field
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.http import SERVER_SOFTWARE

from backfleet.values import value_object

JSON: Final = "application/json; charset=utf-8"
TEXT: Final = "text/plain; charset=utf-8"

_LINE_ENDS: Final = re.compile("[\r\n\0]")


@value_object
class Answer:
    """An answer that is short."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)  # others

    def __post_init__(self) -> None:
        """Raise ValueError for a header that would end its line."""
        if self.headers and _LINE_ENDS.search("".join([*self.headers, *self.headers.values()])):
            raise ValueError("a header of an answer has more than one line")

    @classmethod
    def of(cls, value: object, status: int = 200) -> "Answer":
        """Return the answer that has a value as JSON."""
        return cls(json.dumps(value).encode(), status)

    def as_response(self) -> web.Response:
        """Return it as an answer of the HTTP server."""
        return web.Response(
            body=self.body, status=self.status, headers={"Content-Type": self.content_type, **self.headers}
        )


def head_of(answer: Answer, now: int, *, is_last: bool) -> bytes:
    """Return what is sent before the body of an answer.

    Args:
        answer: the answer.
        now: the time, in Unix seconds.
        is_last: whether the connection is closed then.
    """
    first, last = _first_lines(answer.status, answer.content_type), _last_lines(now, is_last=is_last)
    named = _lines_of(answer.headers) if answer.headers else b""
    return b"%b%bContent-Length: %d\r\n%b" % (first, named, len(answer.body), last)


def _lines_of(headers: Mapping[str, str]) -> bytes:
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode()


@lru_cache(maxsize=100)
def _first_lines(status: int, content_type: str) -> bytes:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {content_type}\r\n".encode()


@lru_cache(maxsize=4)
def _last_lines(now: int, *, is_last: bool) -> bytes:
    closing = "Connection: close\r\n" if is_last else ""
    return f"Date: {formatdate(now, usegmt=True)}\r\nServer: {SERVER_SOFTWARE}\r\n{closing}\r\n".encode()
