"""What the operations on rollouts refuse."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from backfleet import rollouts
from backfleet.rollouts import Fault
from backfleet.wire.errors import ApiError
from backfleet_host.texts import counted


class RolloutNotFound(ApiError):
    """The account has no rollout, or the rollout no member, of this id."""

    code = "RolloutNotFound"
    status = 404

    def __init__(self, what: str = "The rollout") -> None:
        super().__init__(f"{what} does not exist in this account and region.")


class PolicyNotAccepted(ApiError):
    """The policy has faults: all of them are in `Faults`, with line, key, what was found and what would do."""

    code = "PolicyNotAccepted"
    status = 400

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(
            f"The policy has {counted(len(faults), 'fault')}: " + "; ".join(map(str, faults)),
            extra={
                "Faults": [
                    {"Line": fault.line, "Key": fault.key, "Found": fault.found, "Wanted": fault.wanted}
                    for fault in faults
                ]
            },
        )


class IncorrectRolloutState(ApiError):
    """The rollout's state does not allow it."""

    code = "IncorrectRolloutState"
    status = 409

    def __init__(self, why: str) -> None:
        super().__init__(f"This cannot be done with the rollout now: {why}.")


class RolloutNameInUse(ApiError):
    """Another rollout of this name has not ended, and has another policy."""

    code = "RolloutNameInUse"
    status = 409

    def __init__(self, rollout_id: str) -> None:
        super().__init__(
            f"Rollout {rollout_id} has this name and another policy, and has not ended. Cancel it, or change the name."
        )


class NotAnApprover(ApiError):
    """This person's approval does not count."""

    code = "NotAnApprover"
    status = 403

    def __init__(self, why: str) -> None:
        super().__init__(f"You cannot approve this rollout: {why}.")


ERRORS = (RolloutNotFound, PolicyNotAccepted, IncorrectRolloutState, RolloutNameInUse, NotAnApprover)


@contextmanager
def refusals() -> Iterator[None]:
    """Raise what a rollout refuses in the API's words."""
    try:
        yield
    except rollouts.PolicyRefused as problem:
        raise PolicyNotAccepted(problem.faults) from None
    except rollouts.RolloutMissing:
        raise RolloutNotFound from None
    except rollouts.MemberMissing as problem:
        raise RolloutNotFound(f"The member {str(problem)!r} of this rollout") from None
    except rollouts.NotNow as problem:
        raise IncorrectRolloutState(str(problem)) from None
    except rollouts.NameTaken as problem:
        raise RolloutNameInUse(str(problem)) from None
    except rollouts.NotAnApprover as problem:
        raise NotAnApprover(str(problem)) from None
