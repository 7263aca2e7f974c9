"""The contract between control plane and host, also between programs of different age."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet_host.contract import (
    CODES,
    FIRST_LINE,
    KINDS,
    LONGEST_MESSAGE,
    STAGES,
    Malformed,
    Order,
    Report,
    is_order,
    read_order,
    read_output,
    read_report,
    stage_line,
)

GOOD = {"order_id": "u-1", "kind": "upgrade", "package": "rclone", "version": "1.75.2", "platform": "linux-amd64"}

orders = st.builds(
    Order,
    order_id=st.from_regex(r"[A-Za-z0-9-]{1,64}", fullmatch=True),
    kind=st.sampled_from(KINDS),
    package=st.from_regex(r"[a-z0-9][a-z0-9._+-]{0,20}", fullmatch=True),
    version=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,20}", fullmatch=True),
    platform=st.just("linux-amd64"),
    timeout_seconds=st.integers(1, 86400),
    settings=st.dictionaries(
        st.from_regex(r"[a-z_]{1,40}", fullmatch=True),
        st.text(max_size=60) | st.integers(0, 2**53) | st.booleans(),
        max_size=20,
    ),
)
reports = st.builds(
    Report,
    order_id=st.just("u-1"),
    kind=st.sampled_from(KINDS),
    package=st.just("rclone"),
    outcome=st.sampled_from(("succeeded", "failed")),
    code=st.sampled_from(CODES),
    message=st.text(max_size=200),
    stage=st.sampled_from(("", *STAGES)),
    seconds=st.floats(0, 1e6),
)


@given(orders)
def test_a_host_reads_the_order_that_was_sent(order: Order) -> None:
    """Through the command content and back."""
    assert is_order(order.as_command())
    assert read_order(order.as_command()) == order


@given(reports, st.lists(st.sampled_from(STAGES)))
def test_the_control_plane_reads_the_report_that_was_sent(report: Report, stages: list[str]) -> None:
    """Through the task's output, with the stages before it."""
    output = "\n".join([*map(stage_line, stages), report.as_line()])
    assert read_output(output) == (stages[-1] if stages else "", report)


def command(**changes: object) -> str:
    return f"{FIRST_LINE}\n{json.dumps(GOOD | changes)}\n"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param("echo hello", "not an order", id="a shell command"),
        pytest.param(f"{FIRST_LINE}\n[]", "not a JSON object", id="a list"),
        pytest.param(f"{FIRST_LINE}\n{{", "not a JSON object", id="broken JSON"),
        pytest.param(command(script="rm -rf /"), "unknown fields: script", id="a field too many"),
        pytest.param(f'{FIRST_LINE}\n{{"kind": "upgrade"}}', "lacks order_id, package", id="fields too few"),
        pytest.param(command(kind="run"), "kind 'run' is none of", id="another kind"),
        pytest.param(command(package="../etc"), "package '../etc'", id="a package that climbs"),
        pytest.param(command(version="1/2"), "version '1/2'", id="a version that climbs"),
        pytest.param(command(version=""), "version ''", id="an upgrade to nothing"),
        pytest.param(command(version=5), "version 5", id="a number for a version"),
        pytest.param(command(order_id="a b"), "order_id 'a b'", id="a blank in the id"),
        pytest.param(command(patience=0), "patience", id="no time"),
        pytest.param(command(patience=True), "patience", id="true for a number"),
        pytest.param(command(downloads="file:///etc/passwd"), "downloads", id="a file for an address"),
        pytest.param(FIRST_LINE + "\n" + " " * 20000, "longer than", id="an endless order"),
    ],
)
def test_a_malformed_order_is_refused(content: str, text: str) -> None:
    """Field by field, and the text names the field."""
    with pytest.raises(Malformed) as problem:
        read_order(content)
    assert text in str(problem.value)


def test_other_lines_of_output_are_ignored() -> None:
    """An agent may have cut the middle out of the output."""
    report = Report("u-1", "upgrade", "rclone", "failed", code="DiskFull")
    output = f'noise\n{{"stage": "moon"}}\n{stage_line("fetch")}\n{{"stage": "sta\n{report.as_line()}\nmore noise'
    assert read_output(output) == ("fetch", report)


def test_a_report_with_an_unknown_code_is_ignored() -> None:
    """The control plane trusts no report further than its fields."""
    false = dataclasses.asdict(Report("u-1", "upgrade", "rclone", "failed")) | {"code": "AllIsWell"}
    assert read_output(json.dumps({"report": false})) == ("", None)


def test_fields_of_a_newer_host_are_ignored() -> None:
    """Unknown fields of a report are ignored."""
    fields = dataclasses.asdict(Report("u-1", "status", "rclone", "succeeded")) | {"mood": "fine"}
    assert read_report(fields).order_id == "u-1"


def test_a_long_message_is_shortened() -> None:
    """A host cannot fill the server's disk with one report."""
    assert len(Report("u-1", "status", "rclone", "failed", message="x" * 99999).message) == LONGEST_MESSAGE


def test_an_order_without_settings_is_understood_by_older_hosts() -> None:
    """They refuse fields they do not know."""
    assert "settings" not in Order(**GOOD).as_command()
    assert read_order(Order(**GOOD, settings={"most_cores": 2}).as_command()).settings == {"most_cores": 2}


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param([], id="a list"),
        pytest.param({"a": None}, id="nothing for a value"),
        pytest.param({"a": [1]}, id="a list for a value"),
        pytest.param({"a": "x" * 301}, id="a long value"),
        pytest.param({"A-B": 1}, id="a name of another form"),
        pytest.param({"../a": 1}, id="a path for a name"),
        pytest.param({f"a{'b' * number}": 1 for number in range(21)}, id="too many"),
    ],
)
def test_settings_are_names_and_single_values(settings: object) -> None:
    """A host writes them to a file as they are."""
    with pytest.raises(Malformed, match="settings"):
        Order(**GOOD, settings=settings)  # type: ignore[arg-type]


# As the first program with settings wrote them.
RECORDED = (
    '#!backfleet-order 1\n{"bytes_per_second": 1000, "downloads": "https://cp/downloads", "kind": "upgrade", '
    '"oldest_reader": "1.70", "order_id": "u-1", "package": "rclone", "patience": 600, "platform": "linux-amd64", '
    '"settings": {"most_cores": 2}, "tries_again": true, "version": "1.75.2"}\n'
)
ORDER = Order(
    "u-1",
    "upgrade",
    "rclone",
    "1.75.2",
    "linux-amd64",
    timeout_seconds=600,
    downloads="https://cp/downloads",
    oldest_reader="1.70",
    bytes_per_second=1000,
    settings={"most_cores": 2},
    tries_again=True,
)
JOURNALED = (
    '{"bytes_per_second": 0, "downloads": "", "kind": "upgrade", "oldest_reader": "", "order_id": "u-1", '
    '"package": "rclone", "patience": 600, "platform": "linux-amd64", "remove_state": false, "settings": {}, '
    '"tries_again": false, "version": "1.75.2"}'
)


def test_an_order_is_written_as_older_hosts_read_it() -> None:
    """To the byte: `timeout_seconds` is `patience` in JSON."""
    assert ORDER.as_command() == RECORDED


def test_an_order_of_an_older_control_plane_is_read() -> None:
    assert read_order(RECORDED) == ORDER


def test_an_order_in_a_journal_is_read_by_older_and_newer_hosts() -> None:
    """A host that is upgraded in the middle of an order recovers with the same time budget; so does one rolled back."""
    order = Order.from_json(json.loads(JOURNALED))
    assert order.timeout_seconds == 600
    assert json.dumps(order.to_json(), sort_keys=True) == JOURNALED
    assert Order.from_json({**json.loads(JOURNALED), "later": [1]}) == order


def test_the_name_in_python_is_no_name_in_json() -> None:
    with pytest.raises(Malformed, match="unknown fields: timeout_seconds"):
        read_order(command(timeout_seconds=5))


@pytest.mark.parametrize("stored", [{}, {**GOOD, "kind": "run"}, {**GOOD, "patience": "long"}])
def test_a_stored_order_that_is_none_is_refused(stored: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        Order.from_json(stored)


def test_not_known_differs_from_not_installed() -> None:
    """A report without `version_known` counts as known; older programs ignore the field."""
    unknown = Report("u-1", "upgrade", "rclone", "failed", "DownloadFailed", version_known=False)
    _, read = read_output(unknown.as_line())
    assert read == unknown
    fields = json.loads(unknown.as_line())["report"]
    assert fields.pop("version_known") is False
    assert read_report(fields).version_known
    with pytest.raises(Malformed, match="version_known"):
        Report("u-1", "upgrade", "rclone", "failed", "DownloadFailed", current_version="1.0", version_known=False)


def test_a_report_is_written_as_older_control_planes_read_it() -> None:
    report = Report(
        "u-1", "upgrade", "rclone", "failed", "RolledBack", "it was unhealthy", "back", "1.0", "2.0", "1.0", 3.5
    )
    assert report.as_line() == (
        '{"report": {"code": "RolledBack", "current_version": "1.0", "details": {}, "from_version": "1.0", '
        '"kind": "upgrade", "message": "it was unhealthy", "order_id": "u-1", "outcome": "failed", '
        '"package": "rclone", "seconds": 3.5, "stage": "back", "to_version": "2.0"}}'
    )
