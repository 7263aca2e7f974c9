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

    def __init__(self, rollout_id: str) -> None:
        super().__init__(
            f"The rollout {rollout_id!r} does not exist in this account and region. "
            "`backfleet rollout list` shows those that do."
        )


class RolloutRingNotFound(RolloutNotFound):
    """The rollout has no ring of this name."""

    def __init__(self, rollout_id: str, name: str, names: Sequence[str]) -> None:
        ApiError.__init__(self, f"The rollout {rollout_id!r} has no ring {name!r}; it has {', '.join(names)}.")


class RolloutMemberNotFound(RolloutNotFound):
    """The rollout has no member of this id."""

    def __init__(self, client_id: str) -> None:
        ApiError.__init__(
            self,
            f"The rollout has no member {client_id!r}. `backfleet rollout show ROLLOUT --members` lists those "
            "that it has, by the ids of their clients.",
        )


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

    def __init__(self, rollout_id: str, *, goes_back: bool) -> None:
        state, first = ("goes back", "Wait for its end") if goes_back else ("has not ended", "Cancel it")
        super().__init__(
            f"Rollout {rollout_id} has this name and another policy, and {state}. {first}, or change the name."
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
    except rollouts.RolloutMissing as problem:
        raise RolloutNotFound(str(problem)) from None
    except rollouts.MemberMissing as problem:
        raise RolloutMemberNotFound(str(problem)) from None
    except rollouts.NotNow as problem:
        raise IncorrectRolloutState(str(problem)) from None
    except rollouts.NameTaken as problem:
        raise RolloutNameInUse(str(problem), goes_back=problem.goes_back) from None
    except rollouts.NotAnApprover as problem:
        raise NotAnApprover(str(problem)) from None
