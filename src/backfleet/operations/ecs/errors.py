"""Refusals of ECS operations, and the region every one of them names."""

from backfleet.operations.catalogue import Call
from backfleet.wire.errors import ApiError


class RegionNotFound(ApiError):
    """Not the region this installation answers for."""

    code = "InvalidRegionId.NotFound"
    status = 404

    def __init__(self) -> None:
        super().__init__("The RegionId provided does not exist in our records.")


class InstanceNotFound(ApiError):
    """No such instance in this account."""

    code = "InvalidInstance.NotFound"
    status = 404

    def __init__(self) -> None:
        super().__init__("The specified instances not found.")


class TooManyIds(ApiError):
    """More instance ids than one call may carry."""

    code = "InstanceIds.ExceedLimit"
    status = 403

    def __init__(self) -> None:
        super().__init__("The number of instance IDs exceeds the upper limit.")


class BadPage(ApiError):
    """A page number or size out of its range: Code names which."""

    status = 400

    def __init__(self, name: str) -> None:
        self.code = f"InvalidParam.{name}"  # type: ignore[misc]  # the table has one code for each
        super().__init__("The specified parameter is invalid.")


class DryRun(ApiError):
    """All is well, and nothing was done: that is what was asked for."""

    code = "DryRunOperation"
    status = 400

    def __init__(self) -> None:
        super().__init__("Request validation has been passed with DryRun flag set.")


class ActivationRefused(ApiError):
    """CreateActivation with a value out of its range; the code says which."""

    status = 400

    def __init__(self, code: str, text: str) -> None:
        self.code = code  # type: ignore[misc]  # the table has one code for each
        super().__init__(text)


def check_region(call: Call, region: str | None) -> None:
    """Raises RegionNotFound unless it is this installation's."""
    if region != call.region:
        raise RegionNotFound
