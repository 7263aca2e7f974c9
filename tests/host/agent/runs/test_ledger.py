"""The ledger is bounded, and survives restarts and power cuts."""

from pathlib import Path

from backfleet_host.agent.runs.ledger import MOST_RUNS, Ledger, Run


def run(number: int, package: str = "courier") -> Run:
    return Run(f"{package}-{number}", package, "1.0", float(number))


def opened(path: Path) -> Ledger:
    ledger = Ledger(path)
    ledger.open()
    return ledger


def test_what_was_noted_is_there_after_a_restart(tmp_path: Path) -> None:
    """With its end, and without what the server already has."""
    ledger = opened(tmp_path / "runs")
    ledger.put(run(1))
    ledger.put(run(2))
    ledger.note_sent(ledger.unsent(10))
    ledger.put(run(1).with_end(5.0, 3))
    again = opened(tmp_path / "runs")
    assert [(each.id, each.result, each.code) for each in again.runs()] == [
        ("courier-1", "failed", 3),
        ("courier-2", "", None),
    ]
    assert [each.id for each in again.unsent(10)] == ["courier-1"]
    assert [each.id for each in again.running()] == ["courier-2"]


def test_a_line_that_a_power_cut_took_is_left_out(tmp_path: Path) -> None:
    """What is noted afterwards is not lost to it."""
    ledger = opened(tmp_path / "runs")
    ledger.put(run(1))
    with (tmp_path / "runs").open("ab") as file:
        file.write(b'{"run": {"id": "courier-2", "pack')
    opened(tmp_path / "runs").put(run(3))
    assert [each.id for each in opened(tmp_path / "runs").runs()] == ["courier-1", "courier-3"]


def test_the_newest_runs_of_each_client_are_kept(tmp_path: Path) -> None:
    """Another client's are not pushed out."""
    ledger = opened(tmp_path / "runs")
    ledger.put(run(0, "other"))
    for number in range(MOST_RUNS + 5):
        ledger.put(run(number))
    kept = opened(tmp_path / "runs").runs()
    assert (len(kept), kept[0].id, kept[1].id) == (MOST_RUNS + 1, "other-0", "courier-5")


def test_a_disk_that_takes_nothing_stops_nothing(tmp_path: Path) -> None:
    """The runs are in memory."""
    ledger = opened(tmp_path / "missing" / "runs")
    ledger.put(run(1))
    assert [each.id for each in ledger.unsent(10)] == ["courier-1"]


def test_a_run_that_changed_while_it_was_sent_is_sent_again(tmp_path: Path) -> None:
    """Its end must not be lost."""
    ledger = opened(tmp_path / "runs")
    ledger.put(run(1))
    sent = ledger.unsent(10)
    ledger.put(run(1).with_end(5.0, 0))
    ledger.note_sent(sent)
    assert [each.result for each in ledger.unsent(10)] == ["succeeded"]
