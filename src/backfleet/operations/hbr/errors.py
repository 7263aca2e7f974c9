"""Refusals of HBR's operations."""

from typing import Final

from backfleet.fleet import Fitness
from backfleet.wire.errors import ApiError, InvalidParameter

FITNESS_TEXTS: Final = {
    Fitness.NOT_EXISTS: "The instance {id} does not exist in this account and region.",
    Fitness.NOT_RUNNING: "The instance {id} is not running. Start it and ask again.",
    Fitness.AGENT_NOT_RUNNING: "Cloud Assistant is not running on the instance {id}. Start its agent and ask again.",
}


class UnfitInstance(ApiError):
    """The one instance that was asked for cannot be given work; the code says why."""

    status = 400

    def __init__(self, instance_id: str, fitness: Fitness) -> None:
        self.code = fitness.value  # type: ignore[misc]  # three codes, one meaning
        super().__init__(FITNESS_TEXTS[fitness].format(id=instance_id))


class ClientNotFound(ApiError):
    """The one client that was asked for is not there."""

    code = "ResourceNotFound"
    status = 404

    def __init__(self, client_id: str) -> None:
        super().__init__(f"There is no backup client {client_id} in this account and region.")


class TaskNotFound(ApiError):
    """No such task in this account."""

    code = "TaskNotFound"
    status = 404

    def __init__(self) -> None:
        super().__init__("The specified task doesn't exist.")


class AssumeRoleFailed(ApiError):
    """The role of the other account cannot be assumed."""

    code = "AssumeRoleFail"
    status = 403

    def __init__(self) -> None:
        super().__init__("Failed to assume role. Calls across accounts are not offered by this server yet.")


class TokenMismatch(ApiError):
    """A ClientToken came again with other parameters."""

    code = "IdempotentParameterMismatch"
    status = 400

    def __init__(self) -> None:
        super().__init__("The specified parameter has changed while using an already used clientToken.")


class TooManyTargets(InvalidParameter):
    """One request named more than it may carry."""

    def __init__(self, named: int, limit: int) -> None:
        super().__init__(f"{named} instances and clients are named; at most {limit} are taken in one call.")
