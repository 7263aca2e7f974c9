"""Which server the command line speaks to, and with which key.

The server: `--endpoint`, else the profile's, else `BACKFLEET_ENDPOINT`, else the one that serves the local data folder.
The key: `--profile` of the `aliyun` command's own configuration file, else the environment, else admin.json of the
local data folder.
"""

import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from backfleet.settings import DEFAULT_DATA
from backfleet.wire.credentials import Credentials


class NoConnection(Exception):
    """There is no server to speak to or no key to speak with; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Connection:
    """One server and one key."""

    endpoint: str  # with scheme, without a path
    ca_file: Path | None  # trusted besides the system's authorities
    credentials: Credentials

    def trust(self) -> ssl.SSLContext:
        """The system's authorities (SSL_CERT_FILE counts) and ours.

        Raises:
            NoConnection: the file holds no certificate.
        """
        context = ssl.create_default_context()
        if self.ca_file is not None:
            try:
                context.load_verify_locations(self.ca_file)
            except OSError as problem:
                raise NoConnection(f"{self.ca_file} cannot be read as a certificate: {problem}") from None
        return context

    @property
    def host(self) -> str:
        """The Host header: name and port as they stand in the address, for they are signed."""
        return urlsplit(self.endpoint).netloc


@dataclass(frozen=True, slots=True)
class Asked:
    """What the flags said; None where nothing was said."""

    endpoint: str | None = None
    profile: str | None = None
    data: Path | None = None
    ca: Path | None = None


def connect(asked: Asked, environment: Mapping[str, str] = os.environ) -> Connection:
    """Find server and key.

    Raises:
        NoConnection: one of them is not to be found, or a file that should hold it cannot be read.
    """
    data = data_folder(asked.data, environment)
    profile = _profile(asked.profile, environment)
    local = _local(data)
    endpoint = (
        asked.endpoint
        or profile.get("endpoint")
        or environment.get("BACKFLEET_ENDPOINT")
        or local.get("https_endpoint")
    )
    if not endpoint:
        raise NoConnection(
            f"no server is named, and {data} has none: give --endpoint HOST:PORT, or start one with `backfleet serve`"
        )
    ca_file = asked.ca or _file(local.get("ca_file"))
    return Connection(_with_scheme(endpoint), ca_file, _key(profile, environment, local, data))


def data_folder(asked: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """The data folder of this machine's server."""
    return Path(asked or environment.get("BACKFLEET_DATA") or DEFAULT_DATA).expanduser().absolute()


def _key(
    profile: Mapping[str, Any], environment: Mapping[str, str], local: Mapping[str, Any], data: Path
) -> Credentials:
    if profile:
        found = (profile.get("access_key_id"), profile.get("access_key_secret"), profile.get("sts_token") or "")
    elif environment.get("ALIBABA_CLOUD_ACCESS_KEY_ID"):
        found = (
            environment["ALIBABA_CLOUD_ACCESS_KEY_ID"],
            environment.get("ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
            environment.get("ALIBABA_CLOUD_SECURITY_TOKEN", ""),
        )
    else:
        found = (local.get("access_key_id"), local.get("access_key_secret"), "")
    key_id, secret, token = found
    if not key_id or not secret:
        raise NoConnection(
            "no access key: set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, give --profile, "
            f"or run where {data / 'admin.json'} can be read"
        )
    return Credentials(access_key_id=str(key_id), access_key_secret=str(secret), security_token=str(token))


def _profile(name: str | None, environment: Mapping[str, str]) -> dict[str, Any]:
    if name is None:
        return {}
    file = Path(environment.get("ALIBABA_CLOUD_CONFIG_FILE") or "~/.aliyun/config.json").expanduser()
    kept = _json(file)
    for profile in kept.get("profiles", []):
        if isinstance(profile, dict) and profile.get("name") == name:
            if profile.get("mode") not in ("AK", "StsToken"):
                raise NoConnection(f"profile {name!r} in {file} is of mode {profile.get('mode')!r}; use AK or StsToken")
            return profile
    raise NoConnection(f"there is no profile {name!r} in {file}")


def _local(data: Path) -> dict[str, Any]:
    """What the server of this data folder says of itself: its key, and where it listens now."""
    return _json(data / "admin.json") | _json(data / "serving.json")


def _json(file: Path) -> dict[str, Any]:
    try:
        kept = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as problem:
        raise NoConnection(f"{file} cannot be read: {problem}") from None
    return kept if isinstance(kept, dict) else {}


def _file(name: str | None) -> Path | None:
    return Path(name) if name else None


def _with_scheme(endpoint: str) -> str:
    return (endpoint if "://" in endpoint else f"https://{endpoint}").rstrip("/")
