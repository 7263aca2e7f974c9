"""Which server the command line speaks to and with which key: the stronger source wins, and a lack says what to do."""

import json
from pathlib import Path
from typing import Any

import pytest

from backfleet.cli._credentials import Asked, NoConnection, connect

KEY = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "env-id", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "env-secret"}
PROFILE = {
    "name": "work", "mode": "AK", "access_key_id": "profile-id", "access_key_secret": "profile-secret",
    "region_id": "cn-hangzhou",
}  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of a server on this machine, which was started again on other ports since its first start."""
    folder = tmp_path / "data"
    folder.mkdir()
    admin = {"access_key_id": "admin-id", "access_key_secret": "admin-secret", "https_endpoint": "https://127.0.0.1:1"}
    (folder / "admin.json").write_text(json.dumps(admin))
    serving = {"https_endpoint": "https://127.0.0.1:2", "ca_file": str(folder / "ca.pem")}
    (folder / "serving.json").write_text(json.dumps(serving))
    return folder


@pytest.fixture
def profiles(tmp_path: Path) -> dict[str, str]:
    """The environment that names the aliyun command's configuration file, with one profile in it."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"current": "default", "profiles": [PROFILE, {"name": "role", "mode": "RamRoleArn"}]}))
    return {"ALIBABA_CLOUD_CONFIG_FILE": str(file)}


def test_the_local_server_is_found_where_it_listens_now(data: Path) -> None:
    """With nothing said at all."""
    found = connect(Asked(data=data), {})
    assert (found.endpoint, found.host) == ("https://127.0.0.1:2", "127.0.0.1:2")
    assert found.ca_file == data / "ca.pem"
    assert found.credentials.access_key_id == "admin-id"


@pytest.mark.parametrize(
    ("asked", "environment", "endpoint", "key"),
    [
        pytest.param({"endpoint": "b.example:1/"}, KEY, "https://b.example:1", "env-id", id="flag and environment"),
        pytest.param({}, KEY | {"BACKFLEET_ENDPOINT": "http://e:2"}, "http://e:2", "env-id", id="environment"),
        pytest.param({"profile": "work"}, KEY, "https://127.0.0.1:2", "profile-id", id="a profile before all"),
    ],
)
def test_the_stronger_source_wins(
    data: Path, profiles: dict[str, str], asked: dict[str, Any], environment: dict[str, str], endpoint: str, key: str
) -> None:
    """Flags, profile, environment, the local data folder."""
    found = connect(Asked(data=data, **asked), environment | profiles)
    assert (found.endpoint, found.credentials.access_key_id) == (endpoint, key)


@pytest.mark.parametrize(
    ("asked", "environment", "said"),
    [
        pytest.param({}, {}, "start one with `backfleet serve`", id="no server"),
        pytest.param({"endpoint": "b:1"}, {}, "no access key: set ALIBABA_CLOUD_ACCESS_KEY_ID", id="no key"),
        pytest.param({"endpoint": "b:1"}, {"ALIBABA_CLOUD_ACCESS_KEY_ID": "id"}, "no access key", id="half a key"),
        pytest.param({"profile": "home"}, {}, "no profile 'home'", id="no such profile"),
        pytest.param({"profile": "role"}, {}, "use AK or StsToken", id="a profile we cannot use"),
    ],
)
def test_a_lack_says_what_to_do(
    tmp_path: Path, profiles: dict[str, str], asked: dict[str, Any], environment: dict[str, str], said: str
) -> None:
    """Where there is no local server."""
    with pytest.raises(NoConnection, match=said):
        connect(Asked(data=tmp_path / "none", **asked), environment | profiles)


def test_a_broken_file_is_named(data: Path) -> None:
    """And none of its content."""
    (data / "admin.json").write_text('{"access_key_secret": "hush"')
    with pytest.raises(NoConnection, match=r"admin.json cannot be read") as problem:
        connect(Asked(data=data), {})
    assert "hush" not in str(problem.value)


def test_a_connection_prints_without_its_secret(data: Path) -> None:
    """In logs and tracebacks."""
    assert "admin-secret" not in repr(connect(Asked(data=data), {}))
