"""What the cloud says of a command, as what an agent would report."""

import pytest

from backfleet.carriers.ecs.model import Result, Run
from backfleet.carriers.ecs.reading import progress_of
from backfleet.commands import ALREADY_STARTED, LONGEST_OUTPUT


def result(status: str, code: str = "", exit_code: int | None = None, output: bytes = b"", dropped: int = 0) -> Result:
    return Result("i-1", status, exit_code, code, "why", output, dropped)


RUN = Run("t-1", "i-1", "i-1")


@pytest.mark.parametrize(
    ("said", "kind", "code"),
    [
        (result("Success", exit_code=0), "finish", ""),
        (result("Failed", "ExitCodeNonzero", 3), "finish", ""),
        (result("Timeout"), "timeout", ""),
        (result("Terminated"), "stopped", ""),
        (result("Cancelled"), "stopped", ""),
        (result("Aborted", "InstanceNotRunning"), "error", "EcsInstanceNotRunning"),
        (result("Aborted", "ClientNotRunning"), "error", "EcsAgentNotRunning"),
        (result("Aborted", "DeliveryTimeout"), "error", "EcsAgentNotRunning"),
        (result("Invalid", "CommandNotApplicable"), "error", "EcsCommandRefused"),
        (result("Failed", "InstanceReleased"), "error", "EcsInstanceNotFound"),
        (result("Aborted", "SomethingNew"), "error", "EcsNotDelivered"),
        (result("Error", "ExecutionException"), "error", ALREADY_STARTED),
        (result("Error", "ExecutionInterrupted"), "error", ALREADY_STARTED),
        (result("Error", "SomethingNew"), "error", ALREADY_STARTED),
        (result("Success"), "error", ALREADY_STARTED),
        (result("NobodyKnows"), "error", ALREADY_STARTED),
    ],
)
def test_every_end_is_told_or_in_doubt(said: Result, kind: str, code: str) -> None:
    """Whatever the cloud says, a command that may have run is never reported as one that did not."""
    report = progress_of(RUN, said).report
    assert report is not None
    assert (report.kind, report.error_code) == (kind, code)


@pytest.mark.parametrize(("status", "has_begun"), [("Pending", False), ("Running", True), ("Stopping", True)])
def test_what_goes_on_has_no_end(status: str, has_begun: bool) -> None:
    found = progress_of(RUN, result(status, output=b"so far"))
    assert (found.report, found.has_begun) == (None, has_begun)


def test_only_new_output_is_noted() -> None:
    """The cloud shows all of it each time."""
    found = progress_of(Run("t-1", "i-1", "i-1", seen=4), result("Running", output=b"one\ntwo\n"))
    assert (found.output, found.dropped, found.seen) == (b"two\n", 0, 8)
    again = progress_of(Run("t-1", "i-1", "i-1", seen=8), result("Running", output=b"one\ntwo\n"))
    assert (again.output, again.seen) == (b"", 8)


def test_output_that_the_cloud_cut_ends_with_its_end() -> None:
    """The report of an order is its last line."""
    kept = b"a" * 12_288 + b"b" * 12_280 + b"the end\n"
    found = progress_of(RUN, result("Success", exit_code=0, output=kept, dropped=1000))
    assert found.output.endswith(b"the end\n")
    assert (len(found.output) + found.dropped, found.seen) == (len(kept) + 1000, len(kept) + 1000)
    later = progress_of(
        Run("t-1", "i-1", "i-1", seen=25_000), result("Success", exit_code=0, output=kept, dropped=1000)
    )
    assert later.output.endswith(b"the end\n")
    assert len(later.output) + later.dropped == len(kept) + 1000 - 25_000


def test_a_cloud_that_lies_about_its_limit_fills_nothing() -> None:
    found = progress_of(RUN, result("Success", exit_code=0, output=b"x" * 1_000_000 + b"end"))
    assert len(found.output) <= LONGEST_OUTPUT
    assert found.output.endswith(b"end")
    shrunk = progress_of(Run("t-1", "i-1", "i-1", seen=500), result("Running", output=b"less"))
    assert (shrunk.output, shrunk.dropped, shrunk.seen) == (b"", 0, 500)
