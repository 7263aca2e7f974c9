"""Errors that the operations of every product share."""

from collections.abc import Mapping

from backfleet.wire.errors import ApiError


class NoPermission(ApiError):
    """HBR: no policy allows the call, or one denies it."""

    code = "NoPermission"
    status = 403

    def __init__(self, extra: Mapping[str, object], why: str = "") -> None:
        super().__init__(f"User is not authorized to do this operation. {why}".rstrip(), extra=extra)


class StsNoPermission(ApiError):
    """STS: no policy allows the call, or one denies it."""

    code = "NoPermission"
    status = 403

    def __init__(self, extra: Mapping[str, object], why: str = "") -> None:
        text = "You are not authorized to do this action. You should be authorized by RAM."
        super().__init__(f"{text} {why}".rstrip(), extra=extra)


class Forbidden(ApiError):
    """All other products: no policy allows the call, or one denies it."""

    code = "Forbidden.RAM"
    status = 403

    def __init__(self, extra: Mapping[str, object], why: str = "") -> None:
        super().__init__(f"User not authorized to operate on the specified resource. {why}".rstrip(), extra=extra)


class RegionNotFound(ApiError):
    """HBR: a RegionId is given, and it is not the region of this installation."""

    code = "InvalidRegionId.NotFound"
    status = 404

    def __init__(self, given: str, ours: str) -> None:
        super().__init__(
            f"The RegionId {given[:64]!r} does not exist in our records. This installation is {ours!r}: give that one, "
            "or leave it out."
        )


class ServerHeld(ApiError):
    """The server was restored from a copy, and is held until an operator has looked at it."""

    code = "ServerHeld"
    status = 409

    def __init__(self, why: str) -> None:
        super().__init__(f"This server was restored from a backup and is held: {why}.")
