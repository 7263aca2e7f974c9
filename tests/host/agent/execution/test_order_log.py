"""What the agent's log says of orders."""

from backfleet_host.agent.execution.order_log import described, ended
from backfleet_host.contract import FIRST_LINE, Order, Report


def test_an_order_is_described_by_kind_package_and_version() -> None:
    asked = Order("u-1", "upgrade", "rclone", version="1.75.2", platform="linux-amd64")
    assert described(asked.as_command()) == ": upgrade rclone to 1.75.2 (order u-1)"
    assert described(Order("u-2", "status", "rclone").as_command()) == ": status rclone (order u-2)"


def test_a_script_is_not_described() -> None:
    """It may have secrets."""
    assert described("echo password=secret") == ""
    assert described(f"{FIRST_LINE}\n[]\n") == ": an order that cannot be read"


def test_an_end_says_what_runs_now_and_why() -> None:
    report = Report(
        "u-1", "upgrade", "rclone", "failed", "RolledBack", "it printed \x1b[2J\nnothing",
        from_version="1.74.4", to_version="1.75.2", current_version="1.74.4",
    )  # fmt: skip
    said = ended(b'{"stage": "back"}\n' + report.as_line().encode() + b"\n")
    assert said == (": upgrade rclone 1.74.4 to 1.75.2: failed RolledBack, 1.74.4 runs: it printed \\x1b[2J\\nnothing")
    assert ended(b"") == ""
    removed = Report("u-2", "uninstall", "rclone", "succeeded", from_version="1.74.4")
    assert ended(removed.as_line().encode()) == ": uninstall rclone 1.74.4: succeeded, nothing runs"
