"""What a caller may be told: one small tree of errors, rendered in one place (answers.py).

A class fixes the code and the HTTP status; the arguments stay readable. Texts and codes of the gateway are those
of the RPC protocol's common error table.
"""

from collections.abc import Mapping
from typing import ClassVar


class ApiError(Exception):
    """A refusal as the caller sees it: a code, an HTTP status and one sentence that says what to do.

    `extra` are further fields of the body, for example AccessDeniedDetail. Never a secret.
    """

    code: ClassVar[str] = "InternalError"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, extra: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.extra = dict(extra or {})


class MissingParameter(ApiError):
    """A parameter this action needs was not given."""

    code = "MissingParameter"
    status = 400

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"{name} is mandatory for this action.")


class InvalidParameter(ApiError):
    """A parameter's value is not one this action takes; the text names the parameter and what was found."""

    code = "InvalidParameter"
    status = 400


class ActionNotFound(ApiError):
    """No such operation in this product and version."""

    code = "InvalidAction.NotFound"
    status = 404

    def __init__(self) -> None:
        super().__init__("Specified api is not found, please check your url and method.")


class InternalError(ApiError):
    """Something of ours failed; the log has the reason under the RequestId."""

    code = "InternalError"
    status = 500

    def __init__(self) -> None:
        super().__init__("The request processing has failed due to some unknown error.")
