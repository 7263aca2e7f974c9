"""The calls of the official Terraform provider, as its source makes them: the whole request signed in a form (V1).

What the provider reads of the answers is read here with the same strictness: `Result` is text that holds an array, of
which the first element counts; an empty list of clients means that there is none. Its resource goes from created to
changed, stopped, started again and deleted, on a real host. The provider itself is not run.
"""

import base64
import hashlib
import hmac
import http.client
import json
import ssl
import time
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from journeys.installation import LONG, Host, Installation, wait_for
from journeys.test_stopped_agents import end_agent

HBR, ECS = "2017-09-08", "2014-05-26"
FATAL = {
    "ACTIVATED": {"INSTALL_FAILED", "DEACTIVATED", "UNKNOWN"},
    "NOT_INSTALLED": {"UNINSTALL_FAILED", "UNKNOWN"},
}
TRIED_AGAIN = ("ServiceUnavailable", "Rejected.Throttling", "CloudAssistNotRunningOnInstance")


class Provider:
    """Calls of the provider, with its retries."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.trust = ssl.create_default_context(cafile=str(installation.data / "tls" / "ca.pem"))
        self.refusals: list[str] = []

    def call(self, action: str, version: str = HBR, **parameters: str) -> dict[str, Any]:
        """Send a request until it is not refused with a code that the provider tries again."""
        return wait_for(lambda: self._try(action, version, parameters), LONG)

    def _try(self, action: str, version: str, parameters: dict[str, str]) -> dict[str, Any] | None:
        status, answer = self.send(action, version, **parameters)
        if status == 200:
            return answer
        self.refusals.append(answer["Code"])
        assert answer["Code"].endswith(TRIED_AGAIN), answer
        time.sleep(1)
        return None

    def send(self, action: str, version: str = HBR, **parameters: str) -> tuple[int, dict[str, Any]]:
        """Send one request; return status and answer."""
        key = self.installation.admin()
        form = {
            "AccessKeyId": key["access_key_id"], "Action": action, "Format": "JSON", "RegionId": "cn-hangzhou",
            "SignatureMethod": "HMAC-SHA1", "SignatureNonce": uuid.uuid4().hex, "SignatureVersion": "1.0",
            "Timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "Version": version, **parameters,
        }  # fmt: skip
        form["Signature"] = signature("POST", form, key["access_key_secret"])
        connection = http.client.HTTPSConnection(self.installation.https, context=self.trust, timeout=60)
        try:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", "/", urlencode(form), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def wait(self, task_id: str, wanted: str) -> str:
        """Poll a task until its first client has this status; return that client's id."""

        def poll() -> str | None:
            answer = self.call("DescribeTask", TaskId=task_id)
            assert answer["Success"] is True, answer
            assert answer["Description"] != "cancelled", answer
            assert isinstance(answer["Result"], str)
            found = json.loads(answer["Result"] or "[]")
            if not isinstance(found, list) or not found:
                return None
            assert found[0]["clientStatus"] not in FATAL[wanted], found
            return str(found[0]["clientId"]) if found[0]["clientStatus"] == wanted else None

        return wait_for(poll, LONG)

    def read(self, client_id: str) -> dict[str, Any] | None:
        """Return the client, or None: it does not exist."""
        ids = json.dumps([client_id])
        found: list[dict[str, Any]] = self.call("DescribeBackupClients", ClientIds=ids, ClientType="ECS_CLIENT")[
            "Clients"
        ]
        return found[0] if found else None

    def install(self, host: Host) -> str:
        started = self.call("InstallBackupClients", InstanceIds=json.dumps([host.instance_id]))
        return self.wait(started["TaskId"], "ACTIVATED")

    def uninstall(self, host: Host, client_id: str) -> None:
        """Name the instance and its client, as the provider does."""
        ids = {"InstanceIds": json.dumps([host.instance_id]), "ClientIds": json.dumps([client_id])}
        self.wait(self.call("UninstallBackupClients", **ids)["TaskId"], "NOT_INSTALLED")


def signature(method: str, parameters: dict[str, str], secret: str) -> str:
    """Return the signature V1 of a request, made here without the project's code."""

    def encode(text: str) -> str:
        return quote(text, safe="-_.~")

    listed = "&".join(f"{encode(name)}={encode(value)}" for name, value in sorted(parameters.items()))
    signed = f"{method}&{encode('/')}&{encode(listed)}".encode()
    return base64.b64encode(hmac.new(f"{secret}&".encode(), signed, hashlib.sha1).digest()).decode()


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server that offers a client, and one host without it."""
    made = Installation(tmp_path_factory.mktemp("terraform"))
    try:
        made.start()
        made.enrol(1)
        made.add_release("1.0")
        yield made
    finally:
        made.close()


def test_a_client_is_created_changed_stopped_and_deleted_as_the_provider_does_it(installation: Installation) -> None:
    """From the first look at regions to a client that does not exist any more."""
    provider, (host,) = Provider(installation), installation.hosts
    regions = provider.call("DescribeRegions", ECS)["Regions"]["Region"]
    assert "cn-hangzhou" in {each["RegionId"] for each in regions}
    client_id = provider.install(host)
    made = provider.read(client_id)
    assert made is not None
    assert (made["InstanceId"], made["Status"], made["ClientVersion"]) == (host.instance_id, "ACTIVATED", "1.0")
    assert provider.install(host) == client_id, "another apply of the same is no change"

    wanted = {"UseHttps": "true", "MaxCpuCore": "2", "MaxWorker": "4", "DataNetworkType": "VPC"}
    provider.call("UpdateClientSettings", ClientId=client_id, **wanted)
    changed = provider.read(client_id)
    assert changed is not None
    settings = changed["Settings"]
    assert isinstance(settings["UseHttps"], bool), "its schema decodes strictly"
    assert {name: str(settings[name]).lower() for name in wanted} == {name: wanted[name].lower() for name in wanted}

    provider.uninstall(host, client_id)
    stopped = provider.read(client_id)
    assert stopped is not None
    assert stopped["Status"] == "NOT_INSTALLED", "docs/terraform.md says what a plan makes of it"
    assert provider.install(host) == client_id
    provider.uninstall(host, client_id)
    provider.call("DeleteBackupClient", ClientId=client_id)  # at once, although its host was heard just now
    assert provider.read(client_id) is None
    assert provider.refusals == []


def test_an_install_waits_for_the_agent_of_its_instance(installation: Installation) -> None:
    """The provider tries the code of the whole call again until the agent is back."""
    provider, (host,) = Provider(installation), installation.hosts
    end_agent(host)
    ids = json.dumps([host.instance_id])
    wait_for(lambda: provider.send("InstallBackupClients", InstanceIds=ids)[0] == 400, LONG)
    status, refused = provider.send("InstallBackupClients", InstanceIds=ids)
    assert (status, refused["Code"]) == (400, "CloudAssistNotRunningOnInstance")
    host.start()
    client_id = provider.install(host)
    found = provider.read(client_id)
    assert found is not None
    assert found["Status"] == "ACTIVATED"


def test_what_the_provider_takes_for_gone_is_an_empty_list(installation: Installation) -> None:
    """A client that never was: no error, which would end the plan."""
    assert Provider(installation).read("c-0000000000000000000x") is None
