"""What `backfleet doctor` sees of a server: each state is broken for real, and named with what to do."""

import contextlib
import datetime
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from backfleet.certificates import prepare_certificates
from backfleet.checks import Severity
from backfleet.cli import _client, _doctor, _doctor_network, main
from backfleet.cli._client import Client
from backfleet.cli._doctor_network import check_address, check_clock, check_served_certificate
from backfleet.clock import utc_now
from journeys.installation import Installation, free_ports
from name_service import silent_name_service

Cli = Callable[..., Result]
DAY = datetime.timedelta(days=1)


def findings(done: Result) -> dict[str, dict[str, Any]]:
    """Return what `doctor --json` found, by code."""
    return {each["Code"]: each for each in json.loads(done.stdout)["Findings"]}


def test_a_healthy_installation_is_said_to_be_so(cli: Cli) -> None:
    """In lines for people, of which --quiet leaves none, and as JSON; from here and from the server."""
    healthy = cli("doctor")
    assert (healthy.exit_code, "BAD" in healthy.stdout, "WARN" in healthy.stdout) == (0, False, False), healthy.output
    assert all(f"ok   {code}: " in healthy.stdout for code in ("Endpoint", "ServedCertificate", "CallerClock", "Disk"))
    assert (cli("doctor", "--quiet").stdout, cli("doctor", "--quiet").exit_code) == ("", 0)
    as_json = cli("doctor", "--json")
    assert json.loads(as_json.stdout)["Severity"] == "Ok"
    assert {"Server", "Hosts", "Keys", "Commands"} <= set(findings(as_json))


def test_what_the_server_finds_is_shown_with_what_to_do(cli: Cli, server: Installation) -> None:
    """Here: a secret that others can read."""
    (server.data / "admin.json").chmod(0o644)
    try:
        done = cli("doctor", "--quiet")
    finally:
        (server.data / "admin.json").chmod(0o600)
    assert done.exit_code == 1
    assert f"BAD  SecretFiles: others can read {server.data / 'admin.json'}\n     -> run chmod go-rwx" in done.stdout


def test_only_warnings_have_an_exit_code_of_their_own(cli: Cli, server: Installation) -> None:
    """3: it works today."""
    (server.data / "reports").mkdir(exist_ok=True)
    certificate = server.data / "tls" / "server.pem"
    before = certificate.read_bytes()
    key = (server.data / "keys" / "server.key").read_bytes()
    soon = utc_now() - 380 * DAY
    (server.data / "keys" / "server.key").unlink()
    try:
        prepare_certificates(server.data, ["localhost", "127.0.0.1"], now=soon)
        done = cli("doctor", "--quiet")
    finally:
        certificate.write_bytes(before)
        (server.data / "keys" / "server.key").write_bytes(key)
    assert (done.exit_code, done.stdout.startswith("WARN Certificate: it expires on")) == (3, True), done.output


def test_a_server_that_is_away_is_looked_at_from_here_within_seconds(
    cli: Cli, server: Installation, tmp_path: Path
) -> None:
    """Its keys and its disk are, if it is this machine's; nothing is said of the folder of another one."""
    (tmp_path / "serving.json").write_text(json.dumps({"https_endpoint": f"https://127.0.0.1:{free_ports(1)[0]}"}))
    began = time.monotonic()
    away = cli("doctor", "--data", str(tmp_path), "--json")
    assert time.monotonic() - began < 20
    found = findings(away)
    assert (away.exit_code, found["Endpoint"]["Severity"], found["Keys"]["Severity"]) == (1, "Error", "Error")
    assert "is `backfleet serve` running there" in found["Endpoint"]["Advice"]
    remote = findings(cli("doctor", "--endpoint", f"127.0.0.1:{free_ports(1)[0]}", "--json"))
    assert list(remote) == ["Endpoint"]


def test_a_laptop_without_a_data_folder_is_told_of_the_server_only(
    cli: Cli, server: Installation, tmp_path: Path
) -> None:
    """The server checks its own; the key is that of the environment."""
    admin = server.admin()
    key = {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": admin["access_key_id"],
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": admin["access_key_secret"],
    }
    words = ("--endpoint", server.https, "--ca", str(server.data / "tls" / "ca.pem"), "--data", str(tmp_path / "none"))
    done = cli("doctor", *words, "--json", **key)
    assert (done.exit_code, "DataFolder" in findings(done)) == (0, False), done.output
    assert "of the environment (ALIBABA_CLOUD_ACCESS_KEY_ID)" in findings(done)["Server"]["Found"]
    begin = cli("doctor", "--data", str(tmp_path / "none"))
    assert (begin.exit_code, "run `backfleet configure` or `backfleet serve`" in begin.stdout) == (1, True)


def test_a_wrong_secret_names_the_key_and_where_it_was_found(cli: Cli, server: Installation) -> None:
    """Never the secret; so does every other command."""
    key = {"ALIBABA_CLOUD_ACCESS_KEY_ID": server.admin()["access_key_id"], "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "hush-1"}
    found = findings(cli("doctor", "--json", **key))["Key"]
    named = f"The key is {server.admin()['access_key_id']} of the environment (ALIBABA_CLOUD_ACCESS_KEY_ID)"
    assert named in found["Found"]
    unknown = cli("client", "list", **{**key, "ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAInobody"})
    assert (unknown.exit_code, "The key is LTAInobody of the environment" in unknown.stderr) == (1, True)
    assert "hush-1" not in json.dumps(found) + unknown.output


def test_a_caller_without_the_policy_learns_its_name(cli: Cli, server: Installation) -> None:
    """And what is wrong with the folder of this machine's server, which it may not ask."""
    server.call("CreateUser", "ram", UserName="nobody")
    made = server.call("CreateAccessKey", "ram", UserName="nobody")["AccessKey"]
    key = {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": made["AccessKeyId"],
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": made["AccessKeySecret"],
    }
    found = findings(cli("doctor", "--json", **key))
    assert found["Permissions"]["Severity"] == "Error"
    assert "The system policy BackfleetReadOnlyAccess would." in found["Permissions"]["Found"]
    assert found["Keys"]["Severity"] == "Ok"


@pytest.mark.parametrize(("hours", "severity"), [(-1, "Error"), (1, "Error")])
def test_a_callers_clock_that_is_off_is_the_cause_that_is_named(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, hours: int, severity: str
) -> None:
    """The server refuses requests of another time."""

    def off() -> datetime.datetime:
        return utc_now() + datetime.timedelta(hours=hours)

    monkeypatch.setattr(_doctor, "utc_now", off)
    monkeypatch.setattr(_client, "utc_now", off)
    found = findings(cli("doctor", "--json"))
    side = "ahead of" if hours > 0 else "behind"
    assert found["CallerClock"]["Severity"] == severity
    said = re.search(
        rf"this machine's is ([0-9]+) s {side} the server's, so that it refuses", found["CallerClock"]["Found"]
    )
    assert said is not None
    assert abs(int(said[1]) - 3600) <= 60, "an hour, and for how long the server took to answer"
    assert "timedatectl" in found["CallerClock"]["Advice"]


@pytest.mark.parametrize(
    ("off", "severity"), [(0, Severity.OK), (4, Severity.OK), (-60, Severity.WARNING), (901, Severity.ERROR)]
)
def test_small_differences_of_clocks_are_none(off: int, severity: Severity) -> None:
    now = utc_now()
    there = format_datetime(now - datetime.timedelta(seconds=off), usegmt=True) if off else format_datetime(now)
    assert check_clock("http://localhost", lambda: now, lambda _address: there).severity is severity
    assert check_clock("http://localhost", lambda: now, lambda _address: None).severity is Severity.NOTE


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[datetime.datetime], tuple[int, Path]]]:
    """Return a function that serves a certificate made at a moment; it returns the port and the authority's file."""
    open_ones: list[socket.socket] = []

    def serve(made_at: datetime.datetime) -> tuple[int, Path]:
        files = prepare_certificates(tmp_path_factory.mktemp("tls"), ["localhost"], now=made_at)
        context = files.context()
        listener = socket.create_server(("127.0.0.1", 0))
        open_ones.append(listener)

        def answer() -> None:
            while True:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                try:
                    context.wrap_socket(plain, server_side=True).close()
                except OSError:
                    plain.close()

        threading.Thread(target=answer, daemon=True).start()
        return listener.getsockname()[1], files.authority

    yield serve
    for each in open_ones:
        each.shutdown(socket.SHUT_RDWR)
        each.close()


@pytest.mark.parametrize(
    ("days", "name", "severity", "text"),
    [
        pytest.param(0, "localhost", Severity.OK, "valid until", id="right"),
        pytest.param(-400, "localhost", Severity.ERROR, "it expired on", id="expired"),
        pytest.param(30, "localhost", Severity.ERROR, "it is not valid before", id="not valid yet"),
        pytest.param(-380, "localhost", Severity.WARNING, "it expires on", id="near its end"),
        pytest.param(0, "127.0.0.1", Severity.ERROR, "not for 127.0.0.1, but for localhost", id="of another name"),
    ],
)
def test_a_certificate_that_is_served_is_looked_at(
    served: Callable[[datetime.datetime], tuple[int, Path]], days: int, name: str, severity: Severity, text: str
) -> None:
    port, authority = served(utc_now() + days * DAY)
    trust = ssl.create_default_context(cafile=str(authority))
    found = check_served_certificate(f"https://{name}:{port}", trust, utc_now())
    assert (found.severity, text in found.found) == (severity, True), found


def test_a_certificate_that_nobody_trusted_signed_is_reported(
    served: Callable[[datetime.datetime], tuple[int, Path]],
) -> None:
    """So is a port that does not speak TLS at all."""
    port, _ = served(utc_now())
    found = check_served_certificate(f"https://localhost:{port}", ssl.create_default_context(), utc_now())
    assert (found.severity, "--ca FILE" in found.advice) == (Severity.ERROR, True)
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def answer() -> None:
            with contextlib.suppress(OSError):  # the listener is closed at the end
                while True:
                    connection, _ = plain.accept()
                    with contextlib.suppress(OSError), connection:
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        address = f"https://127.0.0.1:{plain.getsockname()[1]}"
        found = check_served_certificate(address, ssl.create_default_context(), utc_now())
        plain.shutdown(socket.SHUT_RDWR)  # ends the wait for another connection
        thread.join()
    assert (found.severity, "does not speak TLS" in found.found) == (Severity.ERROR, True)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        pytest.param("https://nowhere.invalid:1", "does not know nowhere.invalid", id="no such name"),
        pytest.param("https://", "is no address", id="no host"),
        pytest.param("https://localhost:99999", "is no address", id="no port"),
    ],
)
def test_an_address_that_leads_nowhere_is_reported(address: str, text: str) -> None:
    found = check_address(address)
    assert (found.severity, text in found.found) == (Severity.ERROR, True), found


def test_a_name_service_that_is_silent_ends_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_doctor_network, "RESOLVE_SECONDS", 0.05)
    with silent_name_service(monkeypatch):
        found = check_address("https://fleet.example.com:8443")
    assert "no answer within 0.05 seconds" in found.found


def test_an_older_server_is_said_to_be_one(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """It checks nothing by itself."""

    def call(*_: Any, **__: Any) -> Mapping[str, Any]:
        raise _client.CallFailed("unknown", {"Code": "InvalidAction.NotFound"}, 404)

    monkeypatch.setattr(Client, "call", call)
    assert findings(cli("doctor", "--json"))["Server"]["Severity"] == "Warning"


def test_a_task_is_shown_with_what_a_rolled_back_version_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Line by line, and nothing in it moves the cursor."""
    item = {"instanceId": "mi-1", "toVersion": "2.0", "evidence": "Traceback\n  OSError: \x1b[2Jno repository"}
    task = {"Name": "n", "Description": "completed", "Progress": -1, "Result": json.dumps([item, {"evidence": ""}])}
    monkeypatch.setattr(Client, "call", lambda *_, **__: task)
    environment = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "k", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s"}
    done = CliRunner().invoke(main, ["task", "show", "t-1", "--endpoint", "http://127.0.0.1:1"], env=environment)
    assert done.exit_code == 0, done.output
    assert "mi-1: what 2.0 printed before it was rolled back\n  Traceback\n    OSError: \\x1b[2Jno" in done.output


def test_no_code_is_made_that_no_host_could_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line to paste would fail on the host."""
    called = []

    def call(_client: Any, _product: str, action: str, **_parameters: Any) -> dict[str, Any]:
        called.append(action)
        return {"RegionId": "r", "AgentAddress": "a:1", "AuthoritySha256": "", "HostProgramSha256": ""}

    monkeypatch.setattr(Client, "call", call)
    environment = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "k", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s"}
    done = CliRunner().invoke(main, ["activation", "create", "--endpoint", "http://127.0.0.1:1"], env=environment)
    assert (done.exit_code, called) == (1, ["DescribeServer"])
    assert "the server has no host program" in done.stderr
    assert "curl" not in done.output


def test_an_address_with_the_wrong_scheme_says_what_to_write(cli: Cli, server: Installation) -> None:
    """Every command says it, at once, and so does the doctor: for a plain listener, and for one with TLS."""
    admin, (http, https) = server.admin(), server.ports
    key = {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": admin["access_key_id"],
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": admin["access_key_secret"],
    }
    for given, called, found, write in (
        (f"127.0.0.1:{http}", f"https://127.0.0.1:{http}", "it speaks plain HTTP", f"http://127.0.0.1:{http}"),
        (f"http://127.0.0.1:{https}", f"http://127.0.0.1:{https}", "it speaks TLS", f"https://127.0.0.1:{https}"),
    ):
        shown = cli("rollout", "list", "--endpoint", given, **key)
        assert (shown.exit_code, shown.stdout, shown.stderr.count("\n")) == (1, "", 1), shown.output
        assert shown.stderr.startswith(f"backfleet: {called} cannot be called so: {found}; write {write}")
        assert f"write {write}" in cli("doctor", "--endpoint", given, **key).stdout
    right = cli("rollout", "list", "--endpoint", f"http://127.0.0.1:{http}", "--csv", **key)
    assert right.exit_code == 0, right.output
