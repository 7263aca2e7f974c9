"""The host program that orders bring to hosts of another agent: a new one that does not work gives way to the old."""

import hashlib
import io
import json
import os
import signal
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from backfleet.carriers import Bootstrap
from backfleet.carriers.bootstrap import command_for
from backfleet_host.contract import read_instead
from backfleet_host.layout import Places
from journeys.host_programs import program as version_of
from journeys.installation import LONG, Installation, processes_of, wait_for
from journeys.test_other_agents import order, run, start

pytestmark = pytest.mark.slow
BOOTSTRAP = "backfleet_host/agent/execution/bootstrap.py"
CHECKING = "    root, server, authority, *mirror = arguments\n"
FAULTS = {
    "does not start": ("from __future__ import annotations\n", "from __future__ import annotations\nimport nowhere\n"),
    "hangs": (CHECKING, f"    time.sleep(600)\n{CHECKING}"),
    "does not reach the server": (CHECKING, f"{CHECKING}    server = '127.0.0.1:9'\n"),
    "says nothing": (CHECKING, f"    os._exit(3)\n{CHECKING}"),
    "waits": (CHECKING, f"{CHECKING}    while os.path.exists(root + '/../wait'):\n        time.sleep(0.05)\n"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    found = Installation(tmp_path_factory.mktemp("server"))
    found.start()
    for number in range(1, 7):
        found.add_release(f"{number}.0")
    yield found
    found.close()


def program(version: str, fault: str = "") -> bytes:
    """Return a version of the host program, perhaps with a fault that a server's new one may have on some hosts."""
    return changed(version_of(version), {BOOTSTRAP: FAULTS[fault]} if fault else {})


def changed(content: bytes, changes: Mapping[str, tuple[str, str]]) -> bytes:
    """Return a host program with a text in some of its files replaced: before and after, by the file's name.

    What was compiled of such a file is left out: it would run instead.
    """
    packed = io.BytesIO()
    modules = {Path(name).with_suffix("") for name in changes}
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(packed, "w") as new:
        for entry in old.infolist():
            if entry.filename.endswith(".pyc") and _module_of(Path(entry.filename)) in modules:
                continue
            code, (before, after) = old.read(entry), changes.get(entry.filename, ("", ""))
            assert before.encode() in code
            new.writestr(entry, code.replace(before.encode(), after.encode(), 1) if before else code)
    return content[: content.index(b"\n") + 1] + packed.getvalue()


def _module_of(compiled: Path) -> Path:
    """Return the path of a module, without an ending, by that of what was compiled of it."""
    folder = compiled.parent.parent if compiled.parent.name == "__pycache__" else compiled.parent
    return folder / compiled.name.split(".")[0]


Sending = Callable[[bytes], Bootstrap]


@pytest.fixture
def sending(server: Installation, tmp_path: Path) -> Sending:
    """Return what a server writes that has this program, which was downloaded on the host already."""
    authority = (server.data / "tls" / "ca.pem").read_text()
    made = Bootstrap(server.https, authority, "", root=str(tmp_path / "root"), follows_agent=False)

    def bring(content: bytes) -> Bootstrap:
        digest = hashlib.sha256(content).hexdigest()
        folder = brought(tmp_path)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / f"backfleet-host-{digest[:16]}.pyz").write_bytes(content)
        return replace(made, program_sha256=digest)

    return bring


def brought(folder: Path) -> Path:
    return Places(folder / "root").bootstrap


def proven(folder: Path) -> set[str]:
    return {path.name.removeprefix("proven-") for path in brought(folder).glob("proven-*")}


def carried(
    folder: Path, bootstrap: Bootstrap, number: int, version: str, kind: str = "upgrade", seconds: int = 600
) -> str:
    """Carry out an order, which succeeds; return the output of its command."""
    code, report, output = run(folder, command_for(order(number, version, kind, seconds), bootstrap))
    assert (code, report.outcome, report.current_version) == (0, "succeeded", version), output
    return output


def test_a_program_that_works_is_checked_once_and_kept(sending: Sending, tmp_path: Path) -> None:
    good = sending(program("1.0"))
    assert read_instead(carried(tmp_path, good, 1, "1.0", "install")) == ""
    mark = brought(tmp_path) / f"proven-{good.program_sha256[:16]}"
    before = mark.stat().st_mtime_ns
    carried(tmp_path, good, 2, "2.0")
    assert mark.stat().st_mtime_ns == before


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "waits"])
def test_a_new_program_that_does_not_work_gives_way_to_the_one_before(
    sending: Sending, tmp_path: Path, fault: str
) -> None:
    """The order is carried out all the same, and its output says what was used, and why. A good one then takes over."""
    good = sending(program("1.0"))
    carried(tmp_path, good, 1, "1.0", "install")
    bad = sending(program("2.0", fault))
    said = read_instead(carried(tmp_path, bad, 2, "2.0", seconds=120 if fault == "hangs" else 600))
    assert f"the host program {bad.program_sha256[:16]} does not work there" in said
    assert f"{good.program_sha256[:16]} from before was used" in said
    why = {"does not start": "nowhere", "hangs": "did not end within", "says nothing": "said nothing"}
    assert why.get(fault, "127.0.0.1:9") in said
    assert proven(tmp_path) == {good.program_sha256[:16]}
    mended = sending(program("3.0"))
    assert read_instead(carried(tmp_path, mended, 3, "3.0")) == ""
    assert mended.program_sha256[:16] in proven(tmp_path)


def test_the_program_before_stays_through_many_that_do_not_work(sending: Sending, tmp_path: Path) -> None:
    good = sending(program("1.0"))
    carried(tmp_path, good, 1, "1.0", "install")
    for number in range(2, 7):
        bad = sending(program(f"{number}.0", "says nothing"))
        output = carried(tmp_path, bad, number, f"{number}.0")
        assert f"{good.program_sha256[:16]} from before was used" in read_instead(output)


def test_a_file_that_was_changed_on_the_host_is_not_used(sending: Sending, tmp_path: Path) -> None:
    """Without any other one the new program is used, and fails by itself."""
    good = sending(program("1.0"))
    carried(tmp_path, good, 1, "1.0", "install")
    kept = brought(tmp_path) / f"backfleet-host-{good.program_sha256[:16]}.pyz"
    kept.write_bytes(kept.read_bytes() + b"changed")
    bad = sending(program("2.0", "does not start"))
    code, report, output = run(tmp_path, command_for(order(2, "2.0", seconds=60), bad))
    assert (code, report, read_instead(output)) == (1, None, ""), output


def test_a_server_that_is_away_makes_no_program_bad(sending: Sending, tmp_path: Path) -> None:
    """It is not marked as checked, and is checked again with the next order."""
    good = sending(program("1.0"))
    carried(tmp_path, good, 1, "1.0", "install")
    new = sending(program("2.0"))
    away = replace(new, address="127.0.0.1:9")
    _, _, output = run(tmp_path, command_for(order(2, "2.0", seconds=20), away))
    assert f"{good.program_sha256[:16]} from before was used" in read_instead(output)
    assert proven(tmp_path) == {good.program_sha256[:16]}
    assert read_instead(carried(tmp_path, new, 3, "2.0")) == ""


def test_a_command_that_is_killed_during_the_check_is_repeated(sending: Sending, tmp_path: Path) -> None:
    """Nothing was begun. Killed again once the check is over, the order goes on and is answered."""
    good = sending(program("1.0"))
    carried(tmp_path, good, 1, "1.0", "install")
    (tmp_path / "wait").touch()
    slow = sending(program("2.0", "waits"))
    content = command_for(order(2, "2.0"), slow)
    process = start(tmp_path, content)
    wait_for(lambda: _checking(tmp_path), LONG)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not _checking(tmp_path), LONG)
    assert proven(tmp_path) == {good.program_sha256[:16]}
    (tmp_path / "wait").unlink()
    process = start(tmp_path, content)
    wait_for(lambda: slow.program_sha256[:16] in proven(tmp_path), LONG)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert read_instead(carried(tmp_path, slow, 2, "2.0")) == ""


def _checking(folder: Path) -> list[int]:
    """Return the processes that check a program of this root."""
    return [pid for pid in processes_of(folder / "root") if b"--check" in _words(pid)]


def _words(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_the_task_says_which_program_was_used() -> None:
    said = json.dumps({"instead": {"wanted": "a" * 16, "used": "b" * 16, "why": "it hangs"}})
    assert read_instead(f"{said}\n").endswith("from before was used: it hangs")
    for other in ('{"instead": 1}', '{"instead": {"wanted": 1}}', "[]", "instead"):
        assert read_instead(other) == ""
