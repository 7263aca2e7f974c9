"""How many failures are borne. `n` are; one more halts."""

from typing import Any

import pytest

from backfleet.rollouts.model import FirstRun, Member
from backfleet.rollouts.policy import Amount, Failure, Ring
from rollouts.strategy.decisions import M, R, begun, decided, policy, row, some

ONE_PERCENT, TEN_PERCENT = Amount(percent=1), Amount(percent=10)


@pytest.mark.parametrize(
    ("failure", "members", "halts"),
    [
        row({}, [*some(9), *some(1, M.FAILED)], True, id="the default budget bears no failure"),
        row({}, [*some(9), *some(1, M.SUCCEEDED)], False, id="nobody failed"),
        row({"max_failed": Amount(2)}, [*some(9), *some(2, M.FAILED)], False, id="two failures of two are borne"),
        row({"max_failed": Amount(2)}, [*some(9), *some(3, M.FAILED)], True, id="the third of two halts"),
        row({"max_failed": TEN_PERCENT}, [*some(45), *some(5, M.FAILED)], False, id="5 of 50 with 10 % are borne"),
        row({"max_failed": TEN_PERCENT}, [*some(44), *some(6, M.FAILED)], True, id="6 of 50 with 10 % halt"),
        row({"max_failed": TEN_PERCENT}, [*some(54), *some(5, M.FAILED)], False, id="10 % of 59 are 5"),
        row({"max_failed": TEN_PERCENT}, [*some(53), *some(6, M.FAILED)], True, id="10 % of 59 are not 6"),
        row({"max_failed": ONE_PERCENT}, [*some(98), *some(1, M.FAILED)], True, id="1 % of 99 is none"),
        row({"max_failed": ONE_PERCENT}, [*some(99), *some(1, M.FAILED)], False, id="1 % of 100 is one"),
        row({"max_failed": Amount(percent=0)}, [*some(9), *some(1, M.LOST)], True, id="0 % bears none"),
        row({"max_failed": Amount(percent=100)}, some(5, M.FAILED), False, id="100 % bears everybody"),
        row({}, [*some(9), *some(1, M.ROLLED_BACK)], True, id="a member that rolled back counts"),
        row({}, [*some(9), *some(1, M.LOST)], True, id="a lost member counts"),
        row({}, [*some(9), *some(1, M.EXPIRED)], True, id="one that expired while under way counts"),
        row({}, [*some(9), *some(1, M.EXPIRED, begun_at=None)], False, id="one that expired before it began does not"),
        row({}, [*some(9), *some(1, M.SKIPPED, code="ManagedElsewhere")], False, id="a refusal of the host does not"),
        row({"counts": frozenset({"refused"})}, [*some(9), *some(1, M.SKIPPED, code="X")], True,
            id="a refusal counts where the policy says so"),
        row({"counts": frozenset({"skipped"})}, [*some(9), *some(1, M.SKIPPED, code="X")], False,
            id="a refusal is no skip"),
        row({"counts": frozenset({"skipped"})}, [*some(9), *some(1, M.SKIPPED)], True,
            id="a skip counts where the policy says so"),
        row({}, [*some(9), *some(1, M.ALREADY_THERE)], False, id="one that was there already does not count"),
        row({}, [*some(9), *some(1, M.ROLLING_BACK, code="BackupFailed")], True,
            id="one that goes back because its backup failed counts at once"),
        row({}, [*some(9), *some(1, M.ROLLING_BACK)], False, id="one that goes back by order does not count"),
        row({"max_failed": Amount(3)}, [*some(9), *some(1, M.FAILED), *some(1, M.LOST), *some(2, M.ROLLED_BACK)], True,
            id="all kinds of failure add up"),
    ],
)  # fmt: skip
def test_a_budget(failure: dict[str, Any], members: list[Member], halts: bool) -> None:
    """Is tested at its boundary; no order leaves in the decision that halts."""
    found = decided(policy(failure=Failure(**failure)), members)
    assert found.state is (R.HALTED if halts else found.state)
    assert (found.state is R.HALTED) is halts
    assert not (halts and begun(found))


OWN = (Ring("canary", count=5, max_failed=Amount(1)), Ring("rest"))


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        row([*some(4), *some(1, M.FAILED)], "", id="a ring's own budget bears its one failure"),
        row([*some(3), *some(2, M.FAILED)], "2 members of ring canary had failed by then; the budget allows 1",
            id="a ring's own budget halts with the next"),
        row([*some(4), *some(1, M.FAILED), *some(9, ring=1), *some(1, M.FAILED, ring=1)],
            "1 member of the rollout had failed by then; the budget allows 0",
            id="the others use the rollout's budget"),
        row([*some(4), *some(1, M.FAILED), *some(9, ring=1)], "",
            id="failures of a ring with its own budget do not use the rollout's"),
    ],
)  # fmt: skip
def test_a_budget_of_a_ring(members: list[Member], reason: str) -> None:
    """Is the only one for that ring's members."""
    assert decided(policy(*OWN), members).reason == reason


def test_a_failure_counts_in_the_decision_in_which_it_is_seen() -> None:
    """No order leaves beside it."""
    from backfleet.rollouts.model import OrderEnd

    found = decided(policy(), [*some(9), *some(1, M.UPGRADING, end=OrderEnd.FAILED)])
    assert (found.state, begun(found)) == (R.HALTED, [])


def test_a_member_whose_failed_backup_waits_to_go_back_counts_already() -> None:
    """The pace delays its order, not the halt."""
    from backfleet.rollouts.policy import Pace, Then

    document = policy(pace=Pace(Amount(1), ramp=False), failure=Failure(Amount(1), Then.ROLL_BACK_MEMBER))
    found = decided(document, [*some(9), *some(2, M.VERIFYING, first_run=FirstRun.FAILED)])
    assert [move.to for move in found.moves] == [M.ROLLING_BACK]
    assert found.state is R.HALTED
