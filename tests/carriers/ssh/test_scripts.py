"""What runs on a host, run by a shell here: it runs all of a command or nothing of it, and ends with its input."""

import subprocess
import time
from pathlib import Path

import pytest

from backfleet.carriers.facts import read_facts
from backfleet.carriers.ssh.scripts import facts_command, input_of, run_command
from backfleet_host.platforms import platform_here


def run(content: str, folder: str = "/", *, cut: int = 0) -> "subprocess.CompletedProcess[bytes]":
    sent = input_of(content, folder)
    return subprocess.run(
        ["/bin/sh", "-c", run_command(sudo=False)],
        input=sent[: len(sent) - cut],
        capture_output=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("content", ["printf a; exit 7", "#!/bin/sh\nprintf a; exit 7", "\nprintf a; exit 7"])
def test_a_command_runs_and_its_exit_code_comes_back(content: str) -> None:
    process = subprocess.Popen(
        ["/bin/sh", "-c", run_command(sudo=False)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(input_of(content, "/"))
    process.stdin.flush()  # it stays open: its end would end the command
    output = process.stdout.read()
    assert (process.wait(60), output) == (7, b"a")
    process.stdin.close()
    process.stdout.close()


def test_nothing_of_a_command_runs_that_did_not_come_whole(tmp_path: Path) -> None:
    """A line that breaks while it is sent leaves the host as it was."""
    mark = tmp_path / "ran"
    done = run(f"touch {mark}\n# all of it", cut=4)
    assert (done.returncode, mark.exists()) == (75, False)


def test_the_end_of_the_input_ends_the_command_and_what_it_started(tmp_path: Path) -> None:
    began = time.monotonic()
    done = run(f"sleep 50 & echo $! > {tmp_path}/child; sleep 50")
    assert done.returncode != 0
    assert time.monotonic() - began < 40


def test_nothing_stays_on_the_host_when_the_connection_is_gone() -> None:
    """The shell that reports a killed command writes into a broken pipe then."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", run_command(sudo=False)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(input_of('echo "$0"; sleep 50', "/"))
    process.stdin.flush()
    folder = Path(process.stdout.readline().decode().strip()).parent
    assert folder.is_dir()
    process.stdout.close()
    process.stdin.close()
    process.wait(60)
    assert not folder.exists()


def test_nothing_that_varies_is_in_the_command_of_a_session() -> None:
    texts = [run_command(sudo=sudo) for sudo in (True, False)] + [facts_command(sudo=True)]
    assert texts[0] == "exec sudo -n -H -- " + texts[1].removeprefix("exec ")
    assert all("{" not in text.replace("${own:+-}", "").replace("${folder:-$HOME}", "") for text in texts)
    with pytest.raises(ValueError, match="one line"):
        input_of("true", "/tmp\nrm")


def test_a_host_says_what_it_is() -> None:
    done = subprocess.run(["/bin/sh", "-c", facts_command(sudo=False)], capture_output=True, text=True, check=True)
    assert read_facts(done.stdout)["platform"] == platform_here()
    for text in ("", "Linux\n", done.stdout + "more\n", done.stdout.replace("Linux", "x" * 9000)[:9000]):
        with pytest.raises(ValueError, match="answers"):
            read_facts(text)
