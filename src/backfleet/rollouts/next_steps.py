"""What can be done with a rollout now, as commands: what a refusal says beside why. Pure."""

from backfleet.rollouts.records import RolloutRecord
from backfleet.rollouts.states import ENDED, RolloutState, rollout_may_move

_R = RolloutState


def next_steps(record: RolloutRecord, *, can_go_back: bool, but: str = "") -> str:
    """Return the commands that this rollout's state allows, for people; where there is none, what to do instead.

    Args:
        record: the rollout.
        can_go_back: whether a roll-back would do anything.
        but: a verb that was refused although the state allows it.
    """
    state = record.state
    possible = {
        "start": state is _R.DRAFT,
        "retry": state in (_R.PAUSED, _R.HALTED),
        "resume": state in (_R.PAUSED, _R.HALTED),
        "pause": rollout_may_move(state, _R.PAUSED),
        "roll-back": can_go_back,
        "cancel": rollout_may_move(state, _R.CANCELLED) and (state is not _R.ROLLING_BACK or bool(record.unreadable)),
    }
    if record.unreadable:
        possible |= {"start": False, "resume": False, "retry": False, "roll-back": False}
    commands = [f"`backfleet rollout {verb} {record.id}`" for verb, may in possible.items() if may and verb != but]
    if commands:
        return f"possible now: {', '.join(commands)}"
    if state is _R.ROLLING_BACK:
        return f"wait until it has gone back: `backfleet rollout watch {record.id}`"
    return "it has ended: apply its policy again" if state in ENDED else f"see `backfleet rollout show {record.id}`"
