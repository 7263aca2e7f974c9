"""What hosts and callers say reaches the terminal as text: never as commands to it, and never as other lines."""

import io
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from backfleet import cli as package
from backfleet.cli import main
from backfleet.cli._client import CallFailed, Client
from backfleet.cli._print import print_json
from backfleet.cli._tables import layout
from backfleet.logs import log_to_stderr

EVIL = "web\x1b[2J\x1b]0;owned\x07\n\rmi-fake  \x9b31m\u202e\x7f\x00"
SHOWN = "web\\x1b[2J\\x1b]0;owned\\x07\\n\\rmi-fake  \\x9b31m\\u202e\\x7f\\x00"
HARMFUL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Evil(dict[str, Any]):
    """An answer in which every text is hostile."""

    def __missing__(self, name: str) -> Any:
        return EVIL

    def get(self, name: str, default: Any = None) -> Any:
        return self[name]


ITEM = dict.fromkeys(
    ("instanceId", "clientId", "clientStatus", "stage", "fromVersion", "toVersion", "errorCode", "message"), EVIL
)
LISTS = {
    "Instances": [Evil(Connected=True)],
    "Clients": [Evil(CreatedTime=1, UpdatedTime=1, LastHeartBeatTime=1, Pins=[Evil(ExpiresTime=1)])],
    "Rows": [Evil()], "Users": {"User": [Evil()]}, "Roles": {"Role": [Evil()]}, "Events": [Evil()],
    "Policies": {"Policy": [Evil()]}, "Accounts": [Evil(CreatedTime=1)], "Releases": [Evil(Size=1, AddedTime=1)],
}  # fmt: skip
NUMBERS = {
    "TotalCount": 1, "Progress": -1, "Description": "completed", "Result": json.dumps([ITEM]), "IsTruncated": False,
    "NextToken": "", "CreatedTime": 1, "UpdatedTime": 1, "CompletedTime": 1, "DeafInstances": 0,
}  # fmt: skip


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return a function that runs a command against a server whose every text is hostile."""
    monkeypatch.setattr(Client, "call", lambda *_asked, **_named: Evil(LISTS | NUMBERS))
    environment = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "k", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s"}

    def run(*words: str) -> Any:
        flags = ["--endpoint", "http://127.0.0.1:1", "--data", str(tmp_path)]
        return CliRunner().invoke(main, [*words, *flags], env=environment)

    return run


@pytest.mark.parametrize(
    "words",
    [
        ("instance", "list"),
        ("instance", "inventory", "mi-1"),
        ("client", "list"),
        ("task", "show", "t-1"),
        ("task", "watch", "t-1"),
    ],
    ids=" ".join,
)
def test_tables_escape_what_hosts_say(hostile: Any, words: tuple[str, ...]) -> None:
    """Every cell is on its own line, and no character of it moves the cursor."""
    done = hostile(*words)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    assert HARMFUL.search(done.output) is None
    assert SHOWN in done.output
    assert not any(line.startswith("mi-fake") for line in done.output.splitlines())


def test_errors_escape_what_the_server_repeats(hostile: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages quote ids and names."""

    def refuse(*_asked: Any, **_named: Any) -> Any:
        raise CallFailed(EVIL, {"Code": EVIL, "InstanceStatuses": [{"InstanceId": EVIL, "ErrorCode": EVIL}]})

    monkeypatch.setattr(Client, "call", refuse)
    done = hostile("task", "show", "t-1")
    assert done.exit_code == 1
    assert HARMFUL.search(done.output) is None
    assert f"backfleet: {SHOWN}: {SHOWN}" in done.output


def test_json_is_exact(capsys: pytest.CaptureFixture[str]) -> None:
    """Escaped as JSON does it: a program reads the exact text."""
    print_json([EVIL, "größer", "\U000e0001"])
    printed = capsys.readouterr().out
    assert HARMFUL.search(printed) is None
    assert "größer" in printed
    assert json.loads(printed) == [EVIL, "größer", "\U000e0001"]


def test_a_table_keeps_its_columns() -> None:
    """Also in its headings, which some commands take from answers."""
    assert layout((EVIL, "B"), [("x\ny", "1")], None).splitlines() == [f"{SHOWN}  B", "x\\ny".ljust(len(SHOWN)) + "  1"]


def test_logs_have_one_line_for_each_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a caller puts into a name: JSON escapes it."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        log_to_stderr("INFO")
        logging.getLogger("backfleet.x").warning("from %s", EVIL, extra={"user_agent": EVIL})
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
    (line,) = stream.getvalue().splitlines()
    assert HARMFUL.search(line) is None
    assert json.loads(line)["user_agent"] == EVIL


def test_nothing_is_printed_past_the_one_function() -> None:
    """`click.echo` does not escape: only what is escaped already, or exact JSON, may go through it."""
    may = {
        "__init__.py": 1, "_activations.py": 1, "_print.py": 3, "_audit.py": 1, "_calls.py": 1, "_completion.py": 1,
        "_confirming.py": 1, "_serve.py": 1,
    }  # fmt: skip
    found = {
        path.name: count
        for path in Path(str(package.__file__)).parent.glob("*.py")
        if (count := len(re.findall(r"\bclick\.(?:echo|secho)\(|\bprint\(", path.read_text())))
    }
    assert found == may
