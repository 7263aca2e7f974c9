"""backfleet relay as a process: it serves until a signal, and says what is wrong with its arguments."""

import os
import pwd
import re
import select
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from backfleet.cli import main
from relay.conftest import Site, carry

COMMAND = (str(Path(sys.executable).with_name("backfleet")), "relay")


def start(site: Site, upstream: str = "", level: str = "ERROR") -> tuple["subprocess.Popen[str]", str]:
    """Start a relay on a free port; return it and its address."""
    words = (
        "--upstream",
        upstream or site.server.address,
        "--cache",
        str(site.folder / "cache"),
        "--ca",
        str(site.authority),
    )
    process = subprocess.Popen(
        [*COMMAND, *words, "--listen", "127.0.0.1:0", "--log-level", level],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    ready = re.search(r"at (http://\S+)", process.stdout.readline())
    assert ready is not None, process.communicate(timeout=20)[1]
    return process, ready[1]


@pytest.fixture
def plain() -> Iterator[str]:
    """The address, with https, of a server that speaks plain HTTP."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_it_serves_a_host_until_a_signal(site: Site) -> None:
    """And gives its numbers to this machine. Another one on the same folder ends with one line."""
    process, address = start(site)
    try:
        report = carry(site.host("one", relays=[address]))
        with urllib.request.urlopen(f"{address}/metrics", timeout=20) as answer:  # noqa: S310
            numbers = answer.read().decode()
        words = ("--upstream", site.server.address, "--cache", str(site.folder / "cache"), "--listen", "127.0.0.1:0")
        second = subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False, timeout=60)
    finally:
        process.send_signal(signal.SIGTERM)
        errors = process.communicate(timeout=20)[1]
    assert (report.outcome, report.details.get("relays_failed")) == ("succeeded", None)
    assert 'backfleet_relay_answers_total{kind="artifact",source="server"} 1.0' in numbers
    assert (process.returncode, errors) == (0, "")
    assert second.returncode == 1
    assert "another relay uses the folder" in second.stderr


def test_a_wrong_server_is_named_at_the_start(site: Site, plain: str) -> None:
    """Nobody is there, it is no Backfleet server, its certificate is not believed, or it has none.

    The relay serves all the same.
    """
    right, nobody = site.server.address, "https://127.0.0.1:9"
    answers = {
        nobody: f"{nobody} cannot be reached",
        plain: "it speaks no TLS; name the https listener of the server",
        right: "has no releases for hosts; is it a Backfleet server",
        right.replace("127.0.0.1", "localhost.localdomain"): "cannot be reached",
    }
    for path in [path for path in site.server.files if path.startswith("metadata/")]:
        del site.server.files[path]
    for upstream, words in answers.items():
        process, address = start(site, upstream, "WARNING")
        try:
            assert process.stderr is not None
            assert select.select([process.stderr], [], [], 60)[0], f"nothing is said of {upstream}"
            assert words in process.stderr.readline()
            with urllib.request.urlopen(f"{address}/healthz", timeout=20) as answer:  # noqa: S310
                assert answer.status == 200
        finally:
            process.send_signal(signal.SIGINT)
            assert "Traceback" not in process.communicate(timeout=20)[1]
        assert process.returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder to another user")
@pytest.mark.parametrize("whose", ["all of it", "one in it", "a link in it", "a link as its lock"])
def test_a_folder_that_another_user_has_is_not_used(tmp_path: Path, whose: str) -> None:
    """They could have the relay write into any file of its user's."""
    cache, precious = tmp_path / "cache", tmp_path / "precious"
    (cache / "artifacts").mkdir(parents=True)
    precious.write_text("precious")
    nobody, expected = pwd.getpwnam("nobody").pw_uid, "belongs to the user"
    if whose == "all of it":
        os.chown(cache, nobody, -1)
    elif whose == "one in it":
        os.chown(cache / "artifacts", nobody, -1)
    elif whose == "a link in it":
        (cache / "parts").symlink_to(tmp_path)
        expected = "is a link, or no folder"
    else:
        (cache / "lock").symlink_to(precious)
        expected = "cannot be used"
    words = ("--upstream", "https://127.0.0.1:9", "--cache", str(cache), "--listen", "127.0.0.1:0")
    found = CliRunner().invoke(main, ["relay", *words])
    assert (found.exit_code, expected in found.output, "--cache" in found.output) == (1, True, True), found.output
    assert precious.read_text() == "precious"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"--upstream": "http://server"}, "--upstream takes https://HOST[:PORT]"),
        ({"--upstream": "https://user:geheim@server"}, "without name, password or query"),
        ({"--upstream": "https://server:port"}, "--upstream takes https://HOST[:PORT]"),
        ({"--ca": "/nonexistent/ca.pem"}, "name the server's ca.pem"),
        ({"--size": "20 gigs"}, "is no size; write it as 20GB"),
        ({"--size": "1M"}, "less than 64M"),
        ({"--listen": "nowhere"}, "--listen takes HOST:PORT"),
        ({"--tls-cert": "/nonexistent"}, "--tls-cert and --tls-key go together"),
        ({"--tls-cert": "/nonexistent", "--tls-key": "/nonexistent"}, "cannot be used: No such file"),
        ({"--cache": "/proc/nowhere"}, "name another with --cache"),
    ],
)
def test_wrong_arguments_are_refused_in_one_sentence(tmp_path: Path, changed: dict[str, str], words: str) -> None:
    given = {"--upstream": "https://server", "--cache": str(tmp_path), "--listen": "127.0.0.1:0"} | changed
    found = CliRunner().invoke(main, ["relay", *(word for pair in given.items() for word in pair)])
    assert found.exit_code in (1, 2)
    assert words in found.output
    assert "geheim" not in found.output
    assert "Traceback" not in found.output
