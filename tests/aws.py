"""AWS on loopback: moto's server, and a proxy before it that runs what was sent, and does what networks do.

moto answers SendCommand, ListCommands, GetCommandInvocation, AssumeRole and DescribeInstances, and executes nothing.
The proxy runs the script on a host, tells what it printed, and answers the three operations that moto does not have.
"""

import http.client
import http.server
import json
import os
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

from object_stores import S3Server

HOP: Final = {"connection", "transfer-encoding", "content-length", "keep-alive", "host"}
REGION = "eu-central-1"
KEY, SECRET = "AKIATESTTESTTESTTEST", "a-secret-of-aws"
Run = Callable[[str, str], "subprocess.Popen[bytes]"]  # an instance's id, a script
LOST, THROTTLED, FAILED, CUT, SLOW, HALF = "lost", "400", "503", "cut", "slow", "half"


class Moto(S3Server):
    """moto's server, once it has loaded what it needs for AWS: that takes a busy machine half a minute."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for service in ("ec2", "sts", "ssm"):
            ask(self, service, "Action=DescribeInstances&Version=2016-11-15", any_status=True)


def ask(moto: S3Server, service: str, body: str, *, any_status: bool = False) -> str:
    """Make a call as its administrator would; `any_status`: also one that is refused."""
    headers = {
        "Authorization": f"AWS4-HMAC-SHA256 Credential=a/20260101/{REGION}/{service}/aws4_request, "
        "SignedHeaders=host, Signature=0",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    if service == "ssm":
        headers |= {"X-Amz-Target": "AmazonSSM.ListCommands", "Content-Type": "application/x-amz-json-1.1"}
        body = "{}"
    connection = http.client.HTTPConnection("127.0.0.1", moto.port, timeout=300)
    connection.request("POST", "/", body, headers)
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    assert any_status or answer.status == 200, content
    return content


@dataclass
class Invocation:
    """A command on an instance."""

    process: "subprocess.Popen[bytes] | None" = None
    output: bytes = b""
    is_cancelled: bool = False

    def status(self) -> str:
        if self.is_cancelled:
            return "Cancelled"
        if self.process is None or self.process.poll() is None:
            return "InProgress"
        return "Success" if self.process.returncode == 0 else "Failed"


@dataclass
class Aws:
    """What is behind the proxy, and what is done there."""

    moto: S3Server
    run: Run
    instances: dict[str, dict[str, Any]] = field(default_factory=dict)  # what DescribeInstanceInformation says
    commands: dict[str, dict[str, Invocation]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)  # what the next calls meet, whichever these are
    faults_of: dict[str, list[str]] = field(default_factory=dict)  # the same for one operation
    met: Counter[tuple[str, str]] = field(default_factory=Counter)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    place: str = ""
    server: Any = None

    def add(self, instance_id: str, *, status: str = "Online", tags: dict[str, str] | None = None) -> None:
        self.instances[instance_id] = {
            "InstanceId": instance_id, "PingStatus": status, "LastPingDateTime": time.time(), "AgentVersion": "3.3",
            "PlatformType": "Linux", "PlatformName": "Debian GNU/Linux", "PlatformVersion": "13",
            "ResourceType": "EC2Instance" if instance_id.startswith("i-") else "ManagedInstance",
            "IPAddress": "10.0.0.1", "ComputerName": f"host-{instance_id}", "Tags": tags or {},
        }  # fmt: skip

    def make_ec2(self, count: int) -> list[str]:
        """Have EC2 instances in moto, and in Systems Manager."""
        body = f"Action=RunInstances&Version=2016-11-15&ImageId=ami-12c6146b&MinCount={count}&MaxCount={count}"
        found = self.ask_moto("ec2", body)
        ids = [part.split("</instanceId>")[0] for part in found.split("<instanceId>")[1:]]
        for each in ids:
            self.add(each)
        return ids

    def ask_moto(self, service: str, body: str) -> str:
        return ask(self.moto, service, body)

    def sent_to(self, instance_id: str) -> int:
        """Return how many commands were sent to an instance, questions what it is left out."""
        asked = [body for action, body in self.calls if action == "SendCommand" and instance_id in body["InstanceIds"]]
        return sum("uname" not in body["Parameters"]["commands"][0] for body in asked)

    def own_answer(self, action: str, asked: dict[str, Any]) -> dict[str, Any] | None:
        """Return the answer of an operation that moto does not have."""
        if action == "DescribeInstanceInformation":
            found = list(self.instances.values())
            for one in asked.get("Filters", []):
                key = one["Key"]
                found = [
                    each for each in found
                    if (each["InstanceId"] if key == "InstanceIds" else each["Tags"].get(key.removeprefix("tag:")))
                    in one["Values"]
                ]  # fmt: skip
            at, most = int(asked.get("NextToken") or 0), asked["MaxResults"]
            shown = [{name: value for name, value in each.items() if name != "Tags"} for each in found[at : at + most]]
            more = {"NextToken": str(at + most)} if len(found) > at + most else {}
            return {"InstanceInformationList": shown, **more}
        if action == "ListCommandInvocations":
            command_id = asked["CommandId"]
            return {"CommandInvocations": [
                {"CommandId": command_id, "InstanceId": each, "Status": one.status(), "StatusDetails": one.status()}
                for each, one in self.commands.get(command_id, {}).items()
            ]}  # fmt: skip
        if action == "CancelCommand":
            for each in asked["InstanceIds"]:
                one = self.commands[asked["CommandId"]][each]
                one.is_cancelled = one.status() == "InProgress"
                if one.is_cancelled and one.process is not None:
                    one.process.kill()
            return {}
        return None

    def after(self, action: str, asked: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        """Do what moto does not do, and return its answer with what came of it."""
        if action == "SendCommand":
            command_id = answer["Command"]["CommandId"]
            (script,) = asked["Parameters"]["commands"]
            made = self.commands[command_id] = {each: Invocation() for each in asked["InstanceIds"]}
            for each, one in made.items():
                one.process = self.run(each, script)
                threading.Thread(target=self._read, args=(one,), daemon=True).start()
        if action == "GetCommandInvocation":
            one = self.commands[asked["CommandId"]][asked["InstanceId"]]
            while one.status() in ("Success", "Failed") and one.output == b"" and one.process.stdout is not None:
                time.sleep(0.05)
                if one.process.stdout.closed:
                    break
            code = one.process.returncode if one.process is not None else None
            answer |= {
                "Status": one.status(), "StatusDetails": one.status(), "ResponseCode": -1 if code is None else code,
                "StandardOutputContent": one.output.decode(errors="replace")[:24_000],
            }  # fmt: skip
        return answer

    @staticmethod
    def _read(one: Invocation) -> None:
        assert one.process is not None
        assert one.process.stdout is not None
        one.output = one.process.stdout.read()
        one.process.stdout.close()
        one.process.wait()

    def next_fault(self, action: str) -> str:
        with self.lock:
            left = self.faults_of.get(action) or self.faults
            fault = left.pop(0) if left else ""
            self.met[action, fault] += 1
            return fault

    def listen(self, certificate: Path, key: Path) -> None:
        """Begin to answer."""
        aws = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                target = self.headers.get("X-Amz-Target", "")
                action = target.partition(".")[2] or parse_qs(body.decode()).get("Action", ["?"])[0]
                asked = json.loads(body) if target else {}
                fault = aws.next_fault(action)
                self.close_connection = True
                if fault == CUT:
                    return
                if fault in (THROTTLED, FAILED):
                    code = "ThrottlingException" if fault == THROTTLED else "ServiceUnavailable"
                    self._answer(int(fault), json.dumps({"__type": code, "message": "later"}).encode())
                    return
                if fault == SLOW:
                    time.sleep(1)
                aws.calls.append((action, asked))
                own = aws.own_answer(action, asked)
                if own is None:
                    status, content = self._forward(body)
                    if target and status == 200:
                        content = json.dumps(aws.after(action, asked, json.loads(content))).encode()
                else:
                    status, content = 200, json.dumps(own).encode()
                if fault != LOST:
                    self._answer(status, content[: len(content) // 2] if fault == HALF else content, len(content))

            def _forward(self, body: bytes) -> tuple[int, bytes]:
                upstream = http.client.HTTPConnection("127.0.0.1", aws.moto.port, timeout=60)
                headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
                upstream.request("POST", self.path, body, headers)
                answer = upstream.getresponse()
                content = answer.read()
                upstream.close()
                return answer.status, content

            def _answer(self, status: int, content: bytes, length: int | None = None) -> None:
                self.send_response_only(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(content) if length is None else length))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_words: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_words: object) -> None:
                """Say nothing of a client that hung up."""

        self.server = Server(("127.0.0.1", 0), Handler)
        shown = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        shown.load_cert_chain(certificate, key)
        self.server.socket = shown.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, args=(0.1,), daemon=True).start()
        self.place = f"127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        """End it, and what still runs."""
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
        for invocations in self.commands.values():
            for one in invocations.values():
                if one.process is not None and one.process.poll() is None:
                    one.process.kill()
                    one.process.wait()


def run_here(instance_id: str, script: str) -> "subprocess.Popen[bytes]":
    """Run a script on this machine, as the SSM Agent does: with the instance's id in its environment."""
    environment = {**os.environ, "AWS_SSM_INSTANCE_ID": instance_id}
    return subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
