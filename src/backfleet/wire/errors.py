"""What a caller may be told: one small tree of errors, rendered in one place (answers.py).

A class fixes the code and the HTTP status; the arguments stay readable. Texts and codes of the gateway are those
of the RPC protocol's common error table.
"""

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar


class ApiError(Exception):
    """A refusal as the caller sees it: a code, an HTTP status and one sentence that says what to do.

    `extra` are further fields of the body, for example AccessDeniedDetail. Never a secret.
    """

    code: ClassVar[str] = "InternalError"
    status: ClassVar[int] = 500
    headers: Mapping[str, str] = {}

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


class ServiceUnavailable(ApiError):
    """The database does not answer. Nothing was done; official clients and Terraform ask again by themselves."""

    code = "ServiceUnavailable"
    status = 503

    def __init__(self) -> None:
        super().__init__("The request has failed due to a temporary failure of the server.")


class ThrottlingUser(ApiError):
    """The account makes too many calls of this operation; the header `x-acs-retry-after` says when to ask again."""

    code = "Throttling.User"
    status = 429

    def __init__(self, wait: timedelta) -> None:
        super().__init__("Request was denied due to user flow control.")
        # Positive, in milliseconds: what official clients read.
        self.headers = {"x-acs-retry-after": str(max(1, math.ceil(wait.total_seconds() * 1000)))}


# --- The gateway's own refusals, with the texts of the common error table -------------------------------------------


class MissingField(ApiError):
    """A common parameter or header that every signed request has is not there: Code is Missing{Name}."""

    status = 400

    def __init__(self, name: str) -> None:
        self.code = f"Missing{name}"  # type: ignore[misc]  # the one family whose code has the name in it
        super().__init__(f"{name} is mandatory for this action.")


class InvalidVersion(ApiError):
    """No product has this version."""

    code = "InvalidVersion"
    status = 400

    def __init__(self) -> None:
        super().__init__("Specified parameter Version is not valid.")


class UnsupportedMethod(ApiError):
    """Neither GET nor POST."""

    code = "UnsupportedHTTPMethod"
    status = 403

    def __init__(self) -> None:
        super().__init__("This HTTP method is not supported.")


class NeedsTls(ApiError):
    """The operation is refused over plain HTTP."""

    code = "InvalidProtocol.NeedSsl"
    status = 400

    def __init__(self) -> None:
        super().__init__("Your request is denied as lack of ssl protect.")


class RequestTooLarge(ApiError):
    """The body is longer than the API takes."""

    code = "RequestEntityTooLarge"
    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"The request body is larger than {limit} bytes.")


class RequestTooSlow(ApiError):
    """The body did not arrive in time."""

    code = "RequestTimeout"
    status = 408

    def __init__(self) -> None:
        super().__init__("The request body did not arrive in time.")


class BodyIncomplete(ApiError):
    """The body ended before the length it was announced with, or its encoding is broken."""

    code = "ContentLengthDoesNotMatch"
    status = 400

    def __init__(self) -> None:
        super().__init__("The request body is not as long as announced.")


class BodyEncoded(ApiError):
    """The body came compressed. Signatures are over the bytes as they travel, and so is every limit."""

    code = "InvalidParameter.ContentEncoding"
    status = 400

    def __init__(self, found: str) -> None:
        super().__init__(f"The content encoding {found[:64]!r} is not taken, send the body as it is.")


class ContentMd5Mismatch(ApiError):
    """Content-MD5 is not that of the body."""

    code = "ContentMD5NotMatched"
    status = 400

    def __init__(self) -> None:
        super().__init__("Content-MD5 is not the checksum of the request body.")


class KeyNotFound(ApiError):
    """Nobody has this access key."""

    code = "InvalidAccessKeyId.NotFound"
    status = 404

    def __init__(self) -> None:
        super().__init__("Specified access key is not found.")


class KeyInactive(ApiError):
    """The key is switched off."""

    code = "InvalidAccessKeyId.Inactive"
    status = 400

    def __init__(self) -> None:
        super().__init__("Specified access key is disabled.")


class TokenMalformed(ApiError):
    """A security token that we did not give out, or that was changed since."""

    code = "InvalidSecurityToken.Malformed"
    status = 400

    def __init__(self) -> None:
        super().__init__("Specified SecurityToken is malformed.")


class TokenExpired(ApiError):
    """A security token whose session is over: its time, its role, or the key it was made with."""

    code = "InvalidSecurityToken.Expired"
    status = 400

    def __init__(self) -> None:
        super().__init__("Specified SecurityToken is expired.")


class TokenOfAnotherKey(ApiError):
    """A security token beside an access key that it does not belong to."""

    code = "InvalidSecurityToken.MismatchWithAccessKey"
    status = 400

    def __init__(self) -> None:
        super().__init__("Specified SecurityToken mismatch with the AccessKey.")


class IncompleteSignature(ApiError):
    """The signature, or what carries it, is not of the protocol's form."""

    code = "IncompleteSignature"
    status = 400

    def __init__(self, why: str) -> None:
        super().__init__(f"The request signature does not conform to Aliyun standards: {why}.")


class SignatureDoesNotMatch(ApiError):
    """The signature is not ours. The text carries what we signed: clients compare it with their own.

    `why` is a sentence for people. The one colon before the string to sign is part of the protocol: a client of the
    family splits the text there, compares what follows with its own, and fails without it.
    """

    code = "SignatureDoesNotMatch"
    status = 400

    def __init__(self, string_to_sign: str, why: str = "") -> None:
        told = f" {why.replace(':', ',')}" if why else ""
        super().__init__(
            f"Specified signature is not matched with our calculation.{told} server string to sign is:{string_to_sign}"
        )


class InvalidSignatureMethod(ApiError):
    """A way to sign that is not in the table, or that nobody has a key for."""

    code = "InvalidSignatureMethod"
    status = 400

    def __init__(self, found: str) -> None:
        super().__init__(f"Specified signature method {found[:64]!r} is not valid.")


class InvalidSignatureVersion(ApiError):
    """SignatureVersion is not 1.0."""

    code = "InvalidSignatureVersion"
    status = 400

    def __init__(self) -> None:
        super().__init__("Specified signature version is not valid.")


class NonceUsed(ApiError):
    """The request was made once before."""

    code = "SignatureNonceUsed"
    status = 400

    def __init__(self) -> None:
        super().__init__("Specified signature nonce was used already.")


class TimestampExpired(ApiError):
    """The request's time is too far from ours."""

    code = "InvalidTimeStamp.Expired"
    status = 400

    def __init__(self) -> None:
        super().__init__("Specified time stamp or date value is expired.")


class TimestampMalformed(ApiError):
    """The request's time cannot be read."""

    code = "InvalidTimeStamp.Format"
    status = 400

    def __init__(self) -> None:
        super().__init__("Specified time stamp or date value is not well formatted.")


class OperationConflict(ApiError):
    """Something else is changing the same thing."""

    code = "OperationConflict"
    status = 409
