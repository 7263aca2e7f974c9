"""Completion in a real shell."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from backfleet.cli import main


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_a_script_of_its_own(shell: str) -> None:
    done = CliRunner().invoke(main, ["completion", shell])
    assert (done.exit_code, "_BACKFLEET_COMPLETE=" in done.output) == (0, True), done.output


def test_bash_completes_a_command(tmp_path: Path) -> None:
    """As it does after a Tab, with the program that is in its PATH."""
    program = tmp_path / "backfleet"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m backfleet.cli "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(backfleet completion bash)"; COMP_WORDS=(backfleet rele); COMP_CWORD=1; '
        '_backfleet_completion backfleet; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script], check=True, capture_output=True, text=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}
    )
    assert done.stdout.strip() == "release", done.stderr
