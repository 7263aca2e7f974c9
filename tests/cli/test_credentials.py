"""The server that the command line calls, and the key that it signs with."""

import json
from pathlib import Path
from typing import Any

import pytest

from backfleet.cli._credentials import ConnectionFlags, NoConnection, connect

KEY = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "env-id", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "env-secret"}
PROFILE = {
    "name": "work", "mode": "AK", "access_key_id": "profile-id", "access_key_secret": "profile-secret",
    "region_id": "cn-hangzhou",
}  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of a server on this machine that listens on other ports since its first start."""
    folder = tmp_path / "data"
    folder.mkdir()
    admin = {"access_key_id": "admin-id", "access_key_secret": "admin-secret", "https_endpoint": "https://127.0.0.1:1"}
    (folder / "admin.json").write_text(json.dumps(admin))
    serving = {"https_endpoint": "https://127.0.0.1:2", "ca_file": str(folder / "ca.pem")}
    (folder / "serving.json").write_text(json.dumps(serving))
    return folder


@pytest.fixture
def profiles(tmp_path: Path) -> dict[str, str]:
    """The environment that names the aliyun command's configuration file, with two profiles in it."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"current": "default", "profiles": [PROFILE, {"name": "role", "mode": "RamRoleArn"}]}))
    return {"ALIBABA_CLOUD_CONFIG_FILE": str(file)}


def test_the_local_server_is_found_where_it_listens_now(data: Path) -> None:
    """Without flags and environment."""
    found = connect(ConnectionFlags(data=data), {})
    assert (found.endpoint, found.host) == ("https://127.0.0.1:2", "127.0.0.1:2")
    assert found.ca_file == data / "ca.pem"
    assert found.credentials.access_key_id == "admin-id"


@pytest.mark.parametrize(
    ("flags", "environment", "endpoint", "key"),
    [
        pytest.param({"endpoint": "b.example:1/"}, KEY, "https://b.example:1", "env-id", id="flag and environment"),
        pytest.param({}, KEY | {"BACKFLEET_ENDPOINT": "http://e:2"}, "http://e:2", "env-id", id="environment"),
        pytest.param({"profile": "work"}, KEY, "https://127.0.0.1:2", "profile-id", id="a profile before all"),
    ],
)
def test_a_source_overrides_weaker_ones(
    data: Path, profiles: dict[str, str], flags: dict[str, Any], environment: dict[str, str], endpoint: str, key: str
) -> None:
    """Flags, profile, environment, the local data folder."""
    found = connect(ConnectionFlags(data=data, **flags), environment | profiles)
    assert (found.endpoint, found.credentials.access_key_id) == (endpoint, key)


@pytest.mark.parametrize(
    ("flags", "environment", "message"),
    [
        pytest.param({}, {}, "run `backfleet configure` or `backfleet serve`", id="no server"),
        pytest.param({"endpoint": "b:1"}, {}, "no access key is given; set ALIBABA_CLOUD_ACCESS_KEY_ID", id="no key"),
        pytest.param({"endpoint": "b:1"}, {"ALIBABA_CLOUD_ACCESS_KEY_ID": "id"}, "no access key", id="half a key"),
        pytest.param({"profile": "home"}, {}, "no profile 'home'", id="no such profile"),
        pytest.param({"profile": "role"}, {}, "use AK or StsToken", id="a profile of another mode"),
    ],
)
def test_a_missing_server_or_key_says_what_to_do(
    tmp_path: Path, profiles: dict[str, str], flags: dict[str, Any], environment: dict[str, str], message: str
) -> None:
    """Where there is no local server."""
    with pytest.raises(NoConnection, match=message):
        connect(ConnectionFlags(data=tmp_path / "none", **flags), environment | profiles)


def test_a_broken_file_is_named(data: Path) -> None:
    """And none of its content is shown."""
    (data / "admin.json").write_text('{"access_key_secret": "hush"')
    with pytest.raises(NoConnection, match=r"admin.json cannot be read") as problem:
        connect(ConnectionFlags(data=data), {})
    assert "hush" not in str(problem.value)


def test_a_connection_prints_without_its_secret(data: Path) -> None:
    """In logs and tracebacks."""
    assert "admin-secret" not in repr(connect(ConnectionFlags(data=data), {}))
