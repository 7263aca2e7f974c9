"""The errors that callers see, rendered in one place (answers.py).

A class fixes the code and the HTTP status. Codes and texts of the gateway's own refusals are those of the RPC
protocol's common error table.
"""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar


class ApiError(Exception):
    """A refusal as the caller sees it: a code, an HTTP status and a sentence that says what to do.

    `extra` has further fields of the body, for example AccessDeniedDetail. It must hold no secret.
    """

    code: ClassVar[str] = "InternalError"
    status: ClassVar[int] = 500
    advice: ClassVar[str] = ""  # a sentence for people where the message belongs to programs; leads Recommend
    headers: Mapping[str, str] = {}

    def __init__(self, message: str, *, extra: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.extra = dict(extra or {})


class MissingParameter(ApiError):
    """A parameter that this action needs was not given."""

    code = "MissingParameter"
    status = 400

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"{name} is mandatory for this action.")


class InvalidParameter(ApiError):
    """A parameter has a value that this action does not accept; the text names the parameter and the value."""

    code = "InvalidParameter"
    status = 400


class ActionNotFound(ApiError):
    """The product has no such operation in this version."""

    code = "InvalidAction.NotFound"
    status = 404

    def __init__(self) -> None:
        super().__init__("Specified api is not found, please check your url and method.")


class InternalError(ApiError):
    """The server failed; its log has the reason under the RequestId."""

    code = "InternalError"
    status = 500

    def __init__(self) -> None:
        super().__init__("The request processing has failed due to some unknown error.")


class ServiceUnavailable(ApiError):
    """The server cannot do it now. Nothing was done; official clients and Terraform try again by themselves."""

    code = "ServiceUnavailable"
    status = 503

    def __init__(self, reason: str = "") -> None:
        sentence = "The request has failed due to a temporary failure of the server"
        super().__init__(f"{sentence}: {reason}." if reason else f"{sentence}.")


class ThrottlingUser(ApiError):
    """The account makes too many calls of this operation.

    Two headers say when to call again: `x-acs-retry-after` and, for Go and Node, `x-ratelimit-user-api`.
    """

    code = "Throttling.User"
    status = 429

    def __init__(self, wait: timedelta) -> None:
        super().__init__("Request was denied due to user flow control.")
        # Positive, in milliseconds: what official clients read.
        milliseconds = max(1, math.ceil(wait.total_seconds() * 1000))
        self.headers = {"x-acs-retry-after": str(milliseconds), "x-ratelimit-user-api": f"TimeLeft:{milliseconds}"}


# --- The gateway's own refusals, with the texts of the common error table -------------------------------------------


class MissingField(ApiError):
    """A parameter or header that every signed request has is missing. The code is Missing{Name}."""

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
    """The body is longer than the API accepts."""

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
    """The body ended before its announced length, or its encoding is broken."""

    code = "ContentLengthDoesNotMatch"
    status = 400

    def __init__(self) -> None:
        super().__init__("The request body is not as long as announced.")


class BodyEncoded(ApiError):
    """The body is compressed. Signatures and limits are over the bytes as they travel."""

    code = "InvalidParameter.ContentEncoding"
    status = 400

    def __init__(self, found: str) -> None:
        super().__init__(f"The content encoding {found[:64]!r} is not accepted; send the body as it is.")


class ContentMd5Mismatch(ApiError):
    """Content-MD5 is not that of the body."""

    code = "ContentMD5NotMatched"
    status = 400

    def __init__(self) -> None:
        super().__init__("Content-MD5 is not the checksum of the request body.")


class KeyNotFound(ApiError):
    """There is no such access key."""

    code = "InvalidAccessKeyId.NotFound"
    status = 404

    def __init__(self) -> None:
        super().__init__("Specified access key is not found.")


class KeyInactive(ApiError):
    """The key is disabled."""

    code = "InvalidAccessKeyId.Inactive"
    status = 400

    def __init__(self) -> None:
        super().__init__("Specified access key is disabled.")


class TokenMalformed(ApiError):
    """A security token that this server did not issue, or that was changed since."""

    code = "InvalidSecurityToken.Malformed"
    status = 400

    def __init__(self) -> None:
        super().__init__("Specified SecurityToken is malformed.")


class TokenExpired(ApiError):
    """A security token whose session ended: its time, its role, or the key that it was made with."""

    code = "InvalidSecurityToken.Expired"
    status = 400

    def __init__(self) -> None:
        super().__init__("Specified SecurityToken is expired.")


class TokenOfAnotherKey(ApiError):
    """A security token with an access key that it does not belong to."""

    code = "InvalidSecurityToken.MismatchWithAccessKey"
    status = 400

    def __init__(self) -> None:
        super().__init__("Specified SecurityToken mismatch with the AccessKey.")


class IncompleteSignature(ApiError):
    """The signature, or what carries it, does not have the protocol's form."""

    code = "IncompleteSignature"
    status = 400

    def __init__(self, why: str) -> None:
        super().__init__(f"The request signature does not conform to Aliyun standards: {why}.")


class SignatureDoesNotMatch(ApiError):
    """The signature is wrong. The text has the server's string to sign: clients compare it with their own.

    `why` is a sentence for people; without it the beginning is that of the cloud, which other clients look for, and the
    rest of the text must be what they signed. The colon before the string to sign must be the only one before it: an
    official client splits the text there and compares what follows.
    """

    code = "SignatureDoesNotMatch"
    status = 400
    advice = "The secret is wrong, or the request was changed on its way."

    def __init__(self, string_to_sign: str, why: str = "") -> None:
        reason = f" {why.replace(':', ',')}" if why else ""
        super().__init__(
            f"Specified signature is not matched with our calculation.{reason} "
            f"server string to sign is:{string_to_sign}"
        )


class InvalidSignatureMethod(ApiError):
    """A signature method that is not known here, or for which there are no keys."""

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
    """The request was made before."""

    code = "SignatureNonceUsed"
    status = 400

    def __init__(self) -> None:
        super().__init__("Specified signature nonce was used already.")


class TimestampExpired(ApiError):
    """The request's time differs too much from the server's."""

    code = "InvalidTimeStamp.Expired"
    status = 400

    def __init__(self, given: datetime, here: datetime) -> None:
        signed, shown = (moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in (given, here))
        super().__init__(
            "Specified time stamp or date value is expired. The clocks differ: the request was signed at "
            f"{signed} and this server's clock shows {shown}. Set the clock that is wrong (timedatectl set-ntp true)."
        )


class DatedBeforeRestore(ApiError):
    """The request was signed before the server was restored: whether it was made before is not known any more."""

    code = "InvalidTimeStamp.Expired"
    status = 400

    def __init__(self, restored: datetime) -> None:
        super().__init__(
            "Specified time stamp or date value is expired. This server was restored from a backup at "
            f"{restored:%Y-%m-%dT%H:%M:%SZ}, and takes no request that was signed before. Sign it again."
        )


class TimestampMalformed(ApiError):
    """The request's time cannot be read."""

    code = "InvalidTimeStamp.Format"
    status = 400

    def __init__(self) -> None:
        super().__init__("Specified time stamp or date value is not well formatted.")


class OperationConflict(ApiError):
    """Another change of the same thing is under way."""

    code = "OperationConflict"
    status = 409
