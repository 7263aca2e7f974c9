"""What a rollout is in a trace: the one above its tasks. It begins the trace, since people may start it days later."""

from functools import partial

from backfleet import tracing
from backfleet.rollouts.records import RolloutRecord
from backfleet.rollouts.states import ENDED, RolloutState
from backfleet.storage import Transaction
from backfleet.tracing import Span


def traceparent_of(rollout_id: str) -> str:
    """Return the place that a rollout's tasks hang from; "" if no traces are recorded."""
    return str(tracing.parent_of("rollout", rollout_id)) if tracing.is_on() else ""


def record_end(tx: Transaction, before: RolloutState, record: RolloutRecord) -> None:
    """Record the span of a rollout that this transaction ends, once it is committed and if traces are on."""
    if record.state in ENDED and before not in ENDED and tracing.is_on():
        tx.after_commit(partial(tracing.record, rollout_span(record)))


def rollout_span(record: RolloutRecord) -> Span:
    """Return a rollout that is over."""
    place = tracing.parent_of("rollout", record.id)
    began = record.started_at or record.created_at
    return Span(
        name=f"rollout {record.kind}",
        trace_id=place.trace_id,
        span_id=place.span_id,
        parent_id="",
        began=began,
        ended=max(began, record.ended_at or record.updated_at),
        attributes={
            "rollout_id": record.id,
            "account_id": record.account_id,
            "package": record.package,
            "to_version": record.target_version,
            "state": record.state.value,
        },
        error="" if record.state is RolloutState.COMPLETED else record.state.value,
    )
