"""The errors of HBR's operations."""

from collections.abc import Mapping
from typing import Final

from backfleet.fleet import Reachability
from backfleet.wire.errors import ApiError, InvalidParameter

REACHABILITY_TEXTS: Final = {
    Reachability.NOT_EXISTS: "The instance {id} does not exist in this account and region.",
    Reachability.NOT_RUNNING: "The instance {id} is not running. Start it and ask again.",
    Reachability.AGENT_NOT_RUNNING: (
        "Cloud Assistant is not running on the instance {id}. Start its agent and ask again."
    ),
}


class UnreachableInstance(ApiError):
    """The one instance that the call is about cannot be given work; the code says why."""

    status = 400

    def __init__(self, instance_id: str) -> None:
        super().__init__(REACHABILITY_TEXTS[Reachability(self.code)].format(id=instance_id))


class InstanceNotExists(UnreachableInstance):
    """The one instance that the call is about is not in this account and region."""

    code = Reachability.NOT_EXISTS.value


class InstanceNotRunning(UnreachableInstance):
    """The one instance that the call is about is stopped."""

    code = Reachability.NOT_RUNNING.value


class AgentNotRunning(UnreachableInstance):
    """The agent of the one instance that the call is about is not heard of."""

    code = Reachability.AGENT_NOT_RUNNING.value


UNREACHABLE: Final = (InstanceNotExists, InstanceNotRunning, AgentNotRunning)
BY_REACHABILITY: Final[Mapping[Reachability, type[UnreachableInstance]]] = {
    Reachability(error.code): error for error in UNREACHABLE
}


class ClientNotFound(ApiError):
    """The one client that the call is about does not exist."""

    code = "ResourceNotFound"
    status = 404

    def __init__(self, client_id: str) -> None:
        super().__init__(f"There is no backup client {client_id} in this account and region.")


class ClientIsActive(ApiError):
    """A client that is installed on a running host cannot be deleted."""

    code = "ClientIsActive"
    status = 409

    def __init__(self, client_id: str) -> None:
        super().__init__(
            f"The client {client_id} is installed and its host was heard within the last hour; uninstall it first."
        )


class TaskNotFound(ApiError):
    """The account has no such task."""

    code = "TaskNotFound"
    status = 404

    def __init__(self) -> None:
        super().__init__("The specified task doesn't exist.")


class RoleNotExist(ApiError):
    """The other account has no such role, or there is no such account."""

    code = "RoleNotExist"
    status = 404

    def __init__(self) -> None:
        super().__init__("The specified role doesn't exist.")


class AssumeRoleFailed(ApiError):
    """The role of the other account trusts neither this account nor, for a registered pair, the service."""

    code = "AssumeRoleFail"
    status = 403

    def __init__(self) -> None:
        super().__init__("Failed to assume role.")


class NotInDirectory(ApiError):
    """Accounts are registered by role: there is no resource directory here."""

    code = "AccountNotEnableRdTrustedService"
    status = 400

    def __init__(self) -> None:
        super().__init__("There is no resource directory here; register the account by role, with CROSS_ACCOUNT.")


class PairNotFound(ApiError):
    """No such account is registered with this role."""

    code = "ResourceNotFound"
    status = 404

    def __init__(self) -> None:
        super().__init__("No such account is registered with this role.")


class TooManyPairs(ApiError):
    """The account has registered as many others as it may."""

    code = "LimitExceeded.CrossAccount"
    status = 400

    def __init__(self, limit: int) -> None:
        super().__init__(f"At most {limit} accounts can be registered; delete one first.")


class TokenMismatch(ApiError):
    """A ClientToken was used before with other parameters."""

    code = "IdempotentParameterMismatch"
    status = 400

    def __init__(self) -> None:
        super().__init__("The specified parameter has changed while using an already used clientToken.")


class TooManyTargets(InvalidParameter):
    """A call names more instances and clients than it may."""

    def __init__(self, named: int, limit: int) -> None:
        super().__init__(f"{named} instances and clients are named; at most {limit} are taken in one call.")
