"""The budget: how many members may fail before a rollout halts. `n` failures are borne, the next one halts."""

from backfleet.rollouts.policy import Then
from backfleet.rollouts.states import RolloutState
from backfleet.rollouts.strategy.tally import Tally
from backfleet.values import value_object
from backfleet_host.texts import counted


@value_object
class Budget:
    """A budget, and how much of it is used."""

    failed: int
    allowed: int
    scope: str  # for people

    @property
    def is_spent(self) -> bool:
        """Whether more members failed than are allowed to."""
        return self.failed > self.allowed


def rollout_budget(tally: Tally) -> Budget:
    """Return the budget of the whole rollout: a percentage is of the members that it has now, rounded down."""
    allowed = tally.rollout.policy.failure.max_failed.of(len(tally.board))
    return Budget(tally.failures(), allowed, "the rollout")


def ring_budgets(tally: Tally) -> dict[int, Budget]:
    """Return the budgets of the rings that set their own."""
    return {
        number: Budget(tally.failures(number), ring.max_failed.of(tally.board.ring_size(number)), f"ring {ring.name}")
        for number, ring in enumerate(tally.rollout.policy.rings)
        if ring.max_failed is not None
    }


def halt_if_spent(tally: Tally) -> bool:
    """Halt the rollout, or roll back, if a budget is spent; return whether it was.

    A budget is the rollout's unless a ring sets its own: the failures of that ring count there only.
    """
    own = ring_budgets(tally)
    spent = next((budget for budget in own.values() if budget.is_spent), None)
    ring = next((number for number, budget in own.items() if budget is spent), _newest_ring(tally))
    if spent is None:
        total = rollout_budget(tally)
        shared = Budget(total.failed - sum(budget.failed for budget in own.values()), total.allowed, total.scope)
        spent = shared if shared.is_spent else None
    if spent is None:
        return False
    had = f"{counted(spent.failed, 'member')} of {spent.scope} had failed by then"  # more may, whose orders had left
    why = f"{had}; the budget allows {spent.allowed}"
    then = tally.rollout.policy.failure.then
    if then in (Then.ROLL_BACK_RING, Then.ROLL_BACK_ROLLOUT):
        only = ring if then is Then.ROLL_BACK_RING else None
        of = "" if only is None else f"; ring {tally.rollout.policy.rings[only].name} goes back"
        tally.move_rollout(RolloutState.ROLLING_BACK, f"{why}{of}", ring=only)
        tally.wake_now()  # the first orders back leave at once
    else:
        tally.move_rollout(RolloutState.HALTED, why)
    return True


def _newest_ring(tally: Tally) -> int:
    return max((number for number, run in enumerate(tally.rings) if run.started_at is not None), default=0)
