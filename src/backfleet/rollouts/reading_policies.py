"""Reading a policy's text for an account: where it is refused, with every fault at once."""

from collections.abc import Callable, Sequence
from datetime import datetime

from backfleet.rollouts.planning import faults_beside
from backfleet.rollouts.policy import Fault, Policy, PolicyRefused, read_policy, with_lines
from backfleet.storage import Transaction


def read_for(
    tx: Transaction,
    text: str,
    account_id: str,
    region: str,
    asked: Callable[[Policy], Sequence[Fault]],
    *,
    now: datetime,
) -> Policy:
    """Return the policy that a text describes.

    Args:
        tx: the transaction to read in.
        text: the policy, as its owner wrote it.
        account_id: whose clients it is for.
        region: where they are.
        asked: finds the gates that the server could not ask.
        now: the time.

    Raises:
        PolicyRefused: the text has faults; also with those that the account, the releases and the server add to them.
    """
    try:
        return read_policy(text)
    except PolicyRefused as problem:
        if problem.partial is None:
            raise
        gates = {fault.key.partition(".gates")[0] for fault in problem.faults if ".gates" in fault.key}
        found = [
            fault for fault in asked(problem.partial) if fault.key.partition(".gates")[0] not in gates
        ]  # where a gate of a ring cannot be read, nobody knows which ones the others are
        beside = faults_beside(tx, account_id, region, problem, now=now)
        raise PolicyRefused(with_lines([*problem.faults, *found, *beside], text), problem.partial) from None
