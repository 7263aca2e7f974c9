"""The server behind real balancers, with the configurations of docs/balancers.md: nginx and HAProxy of Debian."""

import http.client
import itertools
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from backfleet.wire import signing
from documents import blocks_of
from journeys.installation import LONG
from warm_server import COLD, WarmServer

CALLER = "127.0.0.2"  # the whole of 127/8 is this machine's; the balancer itself connects from 127.0.0.1
TRUSTED = {"BACKFLEET_TRUSTED_PROXIES": "127.0.0.1/32"}
NONCES = itertools.count()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which("nginx") and shutil.which("haproxy")), reason="`make test` installs them"),
]


@dataclass
class Behind:
    """A server, and the balancer in front of it."""

    data: Path
    port: int  # of the balancer
    plain: int
    tls: int

    def connect(self, *, port: int = 0, source: str = CALLER, secure: bool = True) -> http.client.HTTPConnection:
        port = port or self.port
        if not secure:
            return http.client.HTTPConnection("127.0.0.1", port, timeout=LONG, source_address=(source, 0))
        context = ssl.create_default_context(cafile=str(self.data / "tls" / "ca.pem"))
        return http.client.HTTPSConnection("127.0.0.1", port, timeout=LONG, source_address=(source, 0), context=context)

    def call(self, version: str, action: str, query: dict[str, str], **connection: Any) -> tuple[int, dict[str, Any]]:
        """Make a signed call, as official clients do: every parameter in the URL of a POST."""
        admin = json.loads((self.data / "admin.json").read_text())
        headers = {
            "host": f"127.0.0.1:{connection.get('port') or self.port}",
            "x-acs-action": action,
            "x-acs-version": version,
            "x-acs-date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "x-acs-signature-nonce": f"n-{time.time()}-{next(NONCES)}",
            "x-acs-content-sha256": signing.EMPTY_HASH,
        }
        headers["authorization"] = signing.authorize_v3(
            admin["access_key_id"], admin["access_key_secret"], method="POST", query=query, headers=headers,
            payload_hash=signing.EMPTY_HASH,
        )  # fmt: skip
        claimed = {"X-Forwarded-For": "198.51.100.66", "X-Forwarded-Proto": "https", "Forwarded": "for=198.51.100.66"}
        link = self.connect(**connection)
        try:
            link.request("POST", f"/?{urlencode(query)}", headers=headers | claimed)
            answer = link.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            link.close()

    def seen_from(self, action: str) -> set[str]:
        """Return the addresses of callers that the audit trail has for an action."""
        _, found = self.call("2026-11-01", "LookupEvents", {"LookupAttribute.1.Key": "EventName",
                                                            "LookupAttribute.1.Value": action})  # fmt: skip
        return {event["sourceIpAddress"] for event in found["Events"] if event["eventName"] == action}


@contextmanager
def serving(data: Path, **environment: str) -> Iterator[dict[str, int]]:
    listen = ["--http", "127.0.0.1:0", "--https", "127.0.0.1:0"]
    with open(data.parent / "server.log", "ab") as log:
        process = WarmServer(
            [*COLD, "serve", "--data", data, *listen], stdout=subprocess.PIPE, stderr=log, text=True,
            env=os.environ | {"BACKFLEET_HOLD_LISTENERS": "false"} | environment,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        yield {name: int(ready[name].rpartition(":")[2]) for name in ("http", "https")}
    finally:
        process.terminate()
        process.communicate(timeout=LONG)


def configuration(section: str, replaced: dict[str, str]) -> str:
    """Return the configuration of a section of the page, with other ports and paths."""
    (text,) = [block.text for block in blocks_of("docs/balancers.md") if block.section == section]
    for old, new in replaced.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@contextmanager
def nginx(folder: Path, data: Path, server: dict[str, int], listener: socket.socket) -> Iterator[None]:
    text = configuration("nginx", {
        "listen 443 ssl": f"listen 127.0.0.1:{listener.getsockname()[1]} ssl",
        "/etc/nginx/backfleet.crt": str(data / "tls" / "server.pem"),
        "/etc/nginx/backfleet.key": str(data / "keys" / "server.key"),
        "http://127.0.0.1:8080": f"http://127.0.0.1:{server['http']}",
    })  # fmt: skip
    paths = "".join(
        f"{name}_temp_path {folder / name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.getuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user}daemon off;\npid {folder / 'nginx.pid'};\nerror_log {folder / 'nginx.log'};\nevents {{}}\n"
        f"http {{\naccess_log off;\n{paths}{text}}}\n"
    )
    command = ["nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "nginx.log")]
    with running(command, listener, NGINX=f"{listener.fileno()};"):  # as it hands its listeners to the next version
        yield


@contextmanager
def haproxy_http(folder: Path, data: Path, server: dict[str, int], listener: socket.socket) -> Iterator[None]:
    pem = folder / "backfleet.pem"
    pem.write_bytes((data / "tls" / "server.pem").read_bytes() + (data / "keys" / "server.key").read_bytes())
    text = configuration("HAProxy, TLS at the balancer", {
        "bind :443": f"bind fd@{listener.fileno()}",
        "/etc/haproxy/backfleet.pem": str(pem),
        "127.0.0.1:8080": f"127.0.0.1:{server['http']}",
    })  # fmt: skip
    with haproxy(folder, text, listener):
        yield


@contextmanager
def haproxy(folder: Path, text: str, listener: socket.socket) -> Iterator[None]:
    (folder / "haproxy.cfg").write_text(text)
    with running(["haproxy", "-db", "-f", str(folder / "haproxy.cfg")], listener):
        yield


@contextmanager
def running(command: list[str], listener: socket.socket, **environment: str) -> Iterator[None]:
    """Run a balancer that accepts from this listener, and is the only one that has it. Callers wait until it does."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=[listener.fileno()],
        env=os.environ | environment,
    )  # fmt: skip
    listener.close()
    try:
        yield
    finally:
        process.terminate()
        process.wait(LONG)


Balancer = Callable[[Path, Path, dict[str, int], socket.socket], Any]
HEADER = pytest.mark.parametrize("balancer", [nginx, haproxy_http], ids=["nginx", "HAProxy"])


@contextmanager
def behind(tmp_path: Path, balancer: Balancer, **environment: str) -> Iterator[Behind]:
    data, listener = tmp_path / "data", socket.create_server(("127.0.0.1", 0), backlog=128)
    port = listener.getsockname()[1]
    with listener, serving(data, **environment) as server, balancer(tmp_path, data, server, listener):
        yield Behind(data, port, server["http"], server["https"])


@HEADER
def test_callers_have_their_own_address_behind_a_header(tmp_path: Path, balancer: Balancer) -> None:
    """In the audit trail; TLS that ends at the balancer counts; what a caller claims himself does not."""
    with behind(tmp_path, balancer, **TRUSTED, BACKFLEET_REQUIRE_TLS="true") as made:
        assert made.call("2015-04-01", "GetCallerIdentity", {})[0] == 200
        assert made.seen_from("GetCallerIdentity") == {CALLER}
        direct = {"port": made.plain, "source": "127.0.0.3", "secure": False}
        status, refused = made.call("2015-04-01", "GetCallerIdentity", {}, **direct)
        assert (status, refused["Code"]) == (400, "InvalidProtocol.NeedSsl"), "past the balancer nobody is believed"
        assert made.call("2017-09-08", "DescribeRegions", {}, **direct)[0] == 200
        assert made.seen_from("DescribeRegions") == {"127.0.0.3"}


@HEADER
def test_without_the_setting_everybody_is_the_balancer(tmp_path: Path, balancer: Balancer) -> None:
    """Headers are not read at all."""
    with behind(tmp_path, balancer) as made:
        assert made.call("2015-04-01", "GetCallerIdentity", {})[0] == 200
        assert made.seen_from("GetCallerIdentity") == {"127.0.0.1"}


@HEADER
def test_a_long_command_in_the_url_and_a_websocket_go_through(tmp_path: Path, balancer: Balancer) -> None:
    """12,000 bytes of CommandContent, as official clients send it; an agent's socket is upgraded to the server."""
    with behind(tmp_path, balancer, **TRUSTED) as made:
        content = {
            "Name": "long",
            "Type": "RunShellScript",
            "CommandContent": "Kysr" * 3_000,
            "RegionId": "cn-hangzhou",
        }
        status, answer = made.call("2014-05-26", "CreateCommand", content)
        assert status == 200, answer
        link = made.connect()
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                   "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}  # fmt: skip
        link.request("GET", "/luban/notify_server", headers=upgrade)
        answered = link.getresponse()
        assert answered.status in (101, 401, 403), "the server's own answer to an agent that it does not know"
        link.close()


def proxied(version: str) -> Balancer:
    @contextmanager
    def balancer(folder: Path, _data: Path, server: dict[str, int], listener: socket.socket) -> Iterator[None]:
        text = configuration("HAProxy, TLS at the server", {
            "bind :443": f"bind fd@{listener.fileno()}",
            "127.0.0.1:8443": f"127.0.0.1:{server['https']}",
            "send-proxy-v2": f"{version} check inter 200ms",
        })  # fmt: skip
        with haproxy(folder, text, listener):
            yield

    return balancer


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
def test_callers_have_their_own_address_behind_the_proxy_protocol(tmp_path: Path, version: str) -> None:
    """TLS is with the server itself; whoever comes past the balancer, or sends no header, is cut off."""
    settings = TRUSTED | {"BACKFLEET_PROXY_PROTOCOL": "https", "BACKFLEET_REQUIRE_TLS": "true"}
    with behind(tmp_path, proxied(version), **settings) as made:
        assert made.call("2015-04-01", "GetCallerIdentity", {})[0] == 200
        assert made.seen_from("GetCallerIdentity") == {CALLER}
        for source in ("127.0.0.1", "127.0.0.3"):
            with pytest.raises(OSError, match=re.compile("reset|EOF|closed|protocol", re.IGNORECASE)):
                made.call("2015-04-01", "GetCallerIdentity", {}, port=made.tls, source=source)
        assert made.call("2017-09-08", "DescribeRegions", {}, port=made.plain, secure=False)[0] == 200
        assert made.call("2015-04-01", "GetCallerIdentity", {})[0] == 200


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"BACKFLEET_PROXY_PROTOCOL": "https"}, "needs trusted_proxies"),
        ({"BACKFLEET_PROXY_PROTOCOL": "htps", **TRUSTED}, "htps"),
        ({"BACKFLEET_TRUSTED_PROXIES": "10.0.0.0/33"}, "10.0.0.0/33"),
        ({"BACKFLEET_FORWARDED_HEADER": "X-Real-IP", **TRUSTED}, "X-Real-IP"),
    ],
)
def test_settings_that_cannot_be_used_stop_the_start(tmp_path: Path, settings: dict[str, str], words: str) -> None:
    """In one line that names them, before anything is written."""
    command = [sys.executable, "-m", "backfleet.cli", "serve", "--data", str(tmp_path / "data")]
    ended = subprocess.run(
        [*command, "--http", "127.0.0.1:0", "--https", "127.0.0.1:0"],
        env=os.environ | {"BACKFLEET_HOLD_LISTENERS": "false"} | settings,
        capture_output=True, text=True, timeout=LONG, check=False,
    )  # fmt: skip
    assert ended.returncode != 0
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "data").exists()
