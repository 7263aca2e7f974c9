"""Starting tasks: as many calls as the ids need, each of them once."""

import random
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from backfleet.cli._choosing import CLIENT_PREFIX, split
from backfleet.cli._client import CallFailed, CallInterrupted, Client, once
from backfleet.cli._print import say
from backfleet.values import value_object
from backfleet_host.retries import backoff_seconds

TRIES: Final = 5  # of one call that gets no answer
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0  # seconds
NO_VALID_INSTANCE: Final = "NoValidInstance"


@value_object
class Order:
    """What is asked for, whatever the ids."""

    product: str
    action: str
    most: int  # ids that one call takes
    parameters: dict[str, object] = field(default_factory=dict)
    takes_clients: bool = True


@dataclass(slots=True)
class Started:
    """What came of the calls so far."""

    answers: list[dict[str, Any]] = field(default_factory=list)
    failure: CallFailed | None = None  # of the call that ended it
    left: int = 0  # ids that were not asked for because of that
    in_flight: bool = False  # a call was sent and has no answer yet

    @property
    def task_ids(self) -> list[str]:
        """The tasks, each once, in the order of their calls."""
        return list(dict.fromkeys(answer["TaskId"] for answer in self.answers if answer.get("TaskId")))

    @property
    def statuses(self) -> list[dict[str, Any]]:
        """InstanceStatuses of all calls."""
        return [status for answer in self.answers for status in answer.get("InstanceStatuses") or []]

    @property
    def unreachable(self) -> list[dict[str, Any]]:
        """Those of the instances that got no work."""
        return [status for status in self.statuses if not status["ValidInstance"]]


def start(api: Client, order: Order, ids: Sequence[str], so_far: Started) -> None:
    """Ask for tasks on all ids, and note in `so_far` what came of it: an interrupt in between can say that.

    A call of which no instance can be given work does not end the others. Any other refusal does.

    Raises:
        CallFailed: the only call was refused.
    """
    parts = split(list(dict.fromkeys(ids)), order.most)
    for number, part in enumerate(parts):
        so_far.in_flight = True  # stays so where an interrupt comes before the answer
        try:
            so_far.answers.append(_ask(api, order, part, is_patient=number > 0))
        except CallFailed as problem:
            so_far.in_flight = False
            if len(parts) == 1:
                raise
            if problem.answer.get("Code") != NO_VALID_INSTANCE:
                so_far.failure = problem
                so_far.left = sum(map(len, parts[number:]))
                return
            so_far.answers.append(problem.answer)
        so_far.in_flight = False


def _ask(api: Client, order: Order, ids: Sequence[str], *, is_patient: bool) -> dict[str, Any]:
    """Make one call, with one ClientToken however often it is tried: it starts one task.

    Args:
        api: whom to ask.
        order: what to ask for.
        ids: on which hosts or clients.
        is_patient: whether it is tried again where the server cannot even be reached.
    """
    named: dict[str, object] = {"InstanceIds": [each for each in ids if not each.startswith(CLIENT_PREFIX)]}
    if order.takes_clients:
        named["ClientIds"] = [each for each in ids if each.startswith(CLIENT_PREFIX)]
    token = uuid.uuid4().hex

    def call() -> dict[str, Any]:
        return api.call(order.product, order.action, **named, **order.parameters, ClientToken=token)

    return try_again(call, lambda problem: isinstance(problem, CallInterrupted) or (is_patient and problem.may_pass))


def try_again(
    call: Callable[[], dict[str, Any]],
    passes: Callable[[CallFailed], bool],
    *,
    tries: int = TRIES,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Make a call until it has an answer, with growing pauses; the first failure is reported in one line.

    Raises:
        CallFailed: it was refused for good, or failed too often.
    """
    for number in range(tries):
        try:
            with once():
                return call()
        except CallFailed as problem:
            if number == tries - 1 or not (passes(problem) or problem.is_busy):
                raise
            if number == 0:
                say(f"{problem.message.rstrip('.')}; trying again", err=True)
            sleep(backoff_seconds(number, FIRST_PAUSE, LONGEST_PAUSE, random.random()))  # noqa: S311 -- spreads load
    raise AssertionError("the last try returns or raises")
