"""What the cloud says of a command, as what an agent would report of it: decided on values."""

from typing import Final

from backfleet.carriers.ecs.model import NOT_DELIVERED, Meaning, Result, Run
from backfleet.carriers.ecs.problems import INSTANCE_ERRORS
from backfleet.commands import ALREADY_STARTED, LONGEST_OUTPUT, FinalReport
from backfleet.values import value_object

WAITING: Final = frozenset({"Pending", "Scheduled"})
RUNNING: Final = frozenset({"Running", "Stopping"})
IN_DOUBT: Final = FinalReport("error", error_code=ALREADY_STARTED)


@value_object
class Progress:
    """What is new of a run. `report` is None while it goes on; `seen` is how many bytes are noted then."""

    has_begun: bool
    output: bytes = b""
    dropped: int = 0
    seen: int = 0
    report: FinalReport | None = None


def progress_of(run: Run, result: Result) -> Progress:
    """Return what to note of a run."""
    output, dropped, seen = _new_output(run.seen, result)
    if result.status in WAITING:
        return Progress(False, seen=run.seen)
    if result.status in RUNNING:
        return Progress(True, output, dropped, seen)
    return Progress(True, output, dropped, seen, _report(result, output, dropped))


def _new_output(seen: int, result: Result) -> tuple[bytes, int, int]:
    """Return the output that was not noted yet, how many bytes of it are lost, and how many there were in all.

    The cloud drops from the middle of what is too long, so that its end is what is new.
    """
    kept = result.output[:LONGEST_OUTPUT]
    total = len(result.output) + result.dropped
    new = max(total - seen, 0)
    if result.dropped == 0:
        chunk = result.output[seen:] if len(kept) == len(result.output) else result.output[seen:][-LONGEST_OUTPUT:]
    else:
        chunk = result.output[-min(new, len(result.output)) :] if new and not seen else (
            result.output[-min(new, len(result.output) // 2) :] if new else b""
        )  # fmt: skip
        chunk = chunk[-LONGEST_OUTPUT:]
    return chunk, new - len(chunk), max(total, seen)


def _report(result: Result, output: bytes, dropped: int) -> FinalReport:
    """Return the end of a run. Whatever nobody can be sure of is in doubt: the host knows."""
    if result.status in ("Success", "Failed") and result.exit_code is not None:
        return FinalReport("finish", exit_code=result.exit_code, output=output, dropped=dropped)
    if result.status == "Timeout":
        return FinalReport("timeout", output=output, dropped=dropped)
    if result.status in ("Terminated", "Cancelled", "Stopped"):
        return FinalReport("stopped", output=output, dropped=dropped)
    known = result.meaning or Meaning(*INSTANCE_ERRORS.get(result.error_code, ("", True, "")))
    code, may_have_run, advice = known.code, known.may_have_run, known.advice
    if result.status in ("Aborted", "Invalid", "Error", "Failed") and not may_have_run:
        return FinalReport("error", error_code=code, error_text=_heard(result, advice), output=output, dropped=dropped)
    if result.status in ("Aborted", "Invalid"):  # these two say that it was not delivered
        return FinalReport("error", error_code=NOT_DELIVERED, error_text=_heard(result))
    return FinalReport("error", error_code=ALREADY_STARTED, error_text=_heard(result), output=output, dropped=dropped)


def _heard(result: Result, advice: str = "") -> str:
    heard = f"the cloud says {result.status}: {result.error_code} {result.error_text}".strip()[: 510 - len(advice)]
    return f"{heard}. {advice}"[:512] if advice else heard
