"""release add, offer and default, as an operator types them."""

import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import backfleet_host
from backfleet_host.platforms import platform_here
from cli.conftest import Cli
from journeys.installation import Installation

SHIMS = Path(backfleet_host.__file__).parent / "shim" / "binaries"


def named(version: str, package: str = "courier") -> list[str]:
    return ["--package", package, "--version", version, "--platform", platform_here()]


def test_a_known_file_on_another_channel_says_what_changed(cli: Cli, program: Callable[[str], Path]) -> None:
    """And the same again, that nothing did."""
    file = str(program("1.0"))
    assert "added, and offered on stable" in cli("release", "add", file, *named("1.0")).stdout
    assert "already there, nothing changed" in cli("release", "add", file, *named("1.0")).stdout
    on_beta = cli("release", "add", file, *named("1.0"), "--channel", "beta").stdout
    assert "was there already, and is offered on beta now" in on_beta
    assert "offered on edge" in cli("release", "offer", *named("1.0"), "--channel", "edge").stdout
    assert "beta,edge,stable" in cli("release", "list").stdout


def test_a_withdrawn_release_is_offered_again(cli: Cli, program: Callable[[str], Path]) -> None:
    """By its file, and by its name."""
    file = str(program("1.1"))
    cli("release", "add", file, *named("1.1"))
    for again in (["release", "add", file], ["release", "offer"]):
        assert cli("release", "withdraw", *named("1.1")).exit_code == 0
        done = cli(*again, *named("1.1"))
        assert (done.exit_code, "offered on stable" in done.stdout) == (0, True), done.output


def test_files_are_known_by_their_bytes(cli: Cli, tmp_path: Path) -> None:
    """A page of HTML called like a wheel, and a program for another machine without a suffix."""
    page, foreign = tmp_path / "courier.whl", tmp_path / "courier"
    page.write_text("<!DOCTYPE html><title>404</title>")
    other = "linux-s390x" if platform_here() != "linux-s390x" else "linux-arm64"
    foreign.write_bytes((SHIMS / other).read_bytes())
    for file, says in ((page, "is an HTML page"), (foreign, f"is a program for {other.removeprefix('linux-')}")):
        refused = cli("release", "add", str(file), *named("5.0"))
        assert (refused.exit_code, says in refused.output) == (1, True), refused.output


def test_a_slip_is_refused_where_nobody_can_be_asked(cli: Cli, program: Callable[[str], Path]) -> None:
    """The text names the flag."""
    cli("release", "add", str(program("1.0")), *named("1.0"))
    slip = ["release", "add", str(program("1.0")), *named("1.0", "couriers")]
    refused = cli(*slip)
    assert (refused.exit_code, "--new-package" in refused.output) == (1, True), refused.output
    assert cli(*slip, "--new-package").exit_code == 0


@pytest.mark.parametrize(("answer", "code", "says"), [("n", 1, "Aborted"), ("y", 0, "added, and offered")])
def test_a_slip_is_asked_about_on_a_terminal(
    server: Installation, program: Callable[[str], Path], answer: str, code: int, says: str, cli: Cli
) -> None:
    """And added if it is meant."""
    cli("release", "add", str(program("1.0")), *named("1.0"))
    command = [
        sys.executable,
        "-m",
        "backfleet.cli",
        "release",
        "add",
        str(program("1.0")),
        *named("1.0", f"courie{answer}"),
    ]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "BACKFLEET_DATA": str(server.data)}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    output = until(ours, "[y/N]")
    os.write(ours, f"{answer}\n".encode())
    output += until(ours, says)
    assert process.wait(60) == code, output
    os.close(ours)


def until(terminal: int, text: str) -> str:
    """Read a terminal until it has shown a text."""
    shown = ""
    while text not in shown:
        assert select.select([terminal], [], [], 60)[0], shown
        shown += os.read(terminal, 4096).decode()
    return shown


def test_the_default_package_is_chosen(cli: Cli, program: Callable[[str], Path]) -> None:
    """A second package on the channel is noted, and changes nothing."""
    cli("release", "add", str(program("1.0")), *named("1.0"))
    second = cli("release", "add", str(program("1.0")), *named("1.0", "postman"))
    assert "note: channel stable offers several packages" in second.stdout
    assert "still installs courier" in second.stdout
    chosen = cli("release", "default", "postman")
    assert f"gets postman on {platform_here()}" in chosen.stdout, chosen.output
    assert cli("release", "default", "courier").exit_code == 0
    assert cli("release", "default", "nothing").exit_code == 1
