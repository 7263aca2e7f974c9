"""Shells complete the commands and options of the host program."""

import shutil
import subprocess

import pytest

import write_completions


def completed(*words: str) -> list[str]:
    """Return what bash offers after these words; the last one is what was begun."""
    text = write_completions.scripts()["bash"]
    line = " ".join(f"'{word}'" for word in ("backfleet-host", *words))
    asked = f'COMP_WORDS=({line}); COMP_CWORD={len(words)}; _backfleet_host; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", f"{text}\n{asked}"], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("e",), ["enrol"]),
        (("r",), ["rehearse", "run", "remove", "recover"]),
        (("adopt", "--p"), ["--path"]),
        (("remove", "--clients", ""), ["keep", "remove"]),
        (("remove", "--cl"), ["--clients"]),
        (("enrol", "--act"), ["--activation-id", "--activation-code"]),
        (("status", "--root", "/etc/hostn"), ["/etc/hostname"]),
    ],
)
def test_bash_completes(words: tuple[str, ...], offered: list[str]) -> None:
    assert completed(*words) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_every_shell_names_every_command(shell: str) -> None:
    text = write_completions.scripts()[shell]
    for command in ("enrol", "adopt", "give-back", "doctor", "remove", "--new-identity"):
        assert command.removeprefix("--") in text
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=text, text=True, check=True)
