"""DescribeServer."""

import hashlib
import socket
from dataclasses import replace
from typing import Any

import pytest

from backfleet import VERSION, host_program
from backfleet.operations.backfleet.server import agent_address
from backfleet.settings import Settings

Api = Any


def test_a_server_describes_itself(api: Api) -> None:
    """With what `backfleet doctor` and the line to paste on a host need."""
    tls = api.services.settings.data / "tls"
    tls.mkdir()
    (tls / "ca.pem").write_bytes(b"authority")
    api.services = replace(
        api.services, settings=Settings(data=tls.parent, region="eu-central-1", https="10.0.0.1:8443")
    )
    api.add()
    assert api("DescribeServer") == {
        "ServerVersion": VERSION,
        "Processes": 1,
        "RegionId": "eu-central-1",
        "AgentAddress": "10.0.0.1:8443",
        "AuthoritySha256": hashlib.sha256(b"authority").hexdigest(),
        "HostProgramSha256": host_program.sha256(),
        "HostBinaries": [],
        "Instances": 0,
        "ConnectedInstances": 0,
        "DeafInstances": 0,
        "ClonedInstances": 0,
        "ChangedClients": 0,
        "WithdrawnClients": 0,
        "OverdueBackups": 0,
        "ClockSkewMilliseconds": 0,
        "Releases": 1,
        "Held": False,
        "CopiedTime": 0,
        "RestoredTime": 0,
        "AdoptedInstances": 0,
        "TargetsNeedSignature": False,
    }


def test_a_server_without_an_authority_shows_no_fingerprint(api: Api) -> None:
    """It has never listened with TLS."""
    assert api("DescribeServer")["AuthoritySha256"] == ""


@pytest.mark.parametrize(
    ("https", "public_host", "address"),
    [
        pytest.param("10.0.0.1:8443", "", "10.0.0.1:8443", id="where it listens"),
        pytest.param("0.0.0.0:8443", "", f"{socket.gethostname()}:8443", id="everywhere: this machine's name"),
        pytest.param("[::]:443", "", f"{socket.gethostname()}:443", id="everywhere, in six"),
        pytest.param("0.0.0.0:8443", "fleet.example.com", "fleet.example.com:8443", id="the name it was given"),
        pytest.param("0.0.0.0:1", "fleet.example.com, 10.0.0.1", "fleet.example.com:1", id="the first of several"),
        pytest.param("[::1]:8443", "", "[::1]:8443", id="an address in brackets"),
    ],
)
def test_the_address_for_agents(https: str, public_host: str, address: str) -> None:
    """HOST:PORT."""
    assert agent_address(Settings(https=https, public_host=public_host)) == address
