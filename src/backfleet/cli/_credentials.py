"""The server that the command line calls, and the key that it signs with.

The server is that of `--endpoint`, else of the profile, else of `BACKFLEET_ENDPOINT`, else the one of the local data
folder. The authority of its certificate is that of `--ca`, else of the profile, else of `BACKFLEET_CA`, else of that
folder. The key is that of the profile, else of the environment, else of admin.json in the local data folder. A profile
is one that `backfleet configure` wrote, or one in the `aliyun` command's configuration file; it is named by `--profile`
or `BACKFLEET_PROFILE`. The one called `default` also counts where nothing else names a server and a key.
"""

import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from backfleet.authorities import believing_also
from backfleet.cli import _profiles as profiles
from backfleet.settings import DEFAULT_DATA
from backfleet.values import value_object
from backfleet.wire.credentials import Credentials


class NoConnection(Exception):
    """There is no server to call or no key to sign with; the text says what to do."""


@value_object
class Connection:
    """One server and one key."""

    endpoint: str  # with scheme, without a path
    ca_file: Path | None  # trusted besides the system's authorities
    credentials: Credentials
    region: str = ""  # "" = that of the server
    key_origin: str = ""  # for people: the key's id, and where it was found

    def trust(self) -> ssl.SSLContext:
        """Return a context that trusts the system's authorities (SSL_CERT_FILE counts) and `ca_file`.

        Raises:
            NoConnection: the file holds no certificate.
        """
        return _trust(self.ca_file)

    @property
    def host(self) -> str:
        """The Host header: name and port as in the endpoint, because they are signed."""
        return urlsplit(self.endpoint).netloc


@value_object
class ConnectionFlags:
    """The values of the flags; None for a flag that was not given."""

    endpoint: str | None = None
    profile: str | None = None
    data: Path | None = None
    ca: Path | None = None


def connect(flags: ConnectionFlags, environment: Mapping[str, str] = os.environ) -> Connection:
    """Find the server and the key.

    Raises:
        NoConnection: one of them is not found, or a file that should have it cannot be read.
    """
    data = data_folder(flags.data, environment)
    local = _local(data)
    profile = _profile_in_force(flags, environment, local)
    endpoint = _endpoint(flags, environment, profile, local)
    ca_file = _authority(flags, environment, profile, local)
    key = _key(profile, environment, local, data)
    origin = f"{key.access_key_id} of {_key_origin(flags, profile, environment, data)}"
    return Connection(endpoint, ca_file, key, profile.get("region") or "", origin)


def trust_of(flags: ConnectionFlags, environment: Mapping[str, str] = os.environ) -> ssl.SSLContext:
    """Return a context that trusts whom `connect` would trust; no key is needed.

    Raises:
        NoConnection: a file cannot be read, or holds no certificate.
    """
    local = _local(data_folder(flags.data, environment))
    return _trust(_authority(flags, environment, _profile_in_force(flags, environment, local), local))


def local_address(data: Path) -> str:
    """Return where the server of this data folder listens, or did last; "" if it never has."""
    try:
        address = _local(data).get("https_endpoint")
    except NoConnection:
        return ""
    return _with_scheme(str(address)) if address else ""


def _authority(
    flags: ConnectionFlags, environment: Mapping[str, str], profile: Mapping[str, Any], local: Mapping[str, Any]
) -> Path | None:
    return flags.ca or _file(profile.get("ca_file") or environment.get("BACKFLEET_CA") or local.get("ca_file"))


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return believing_also(ca_file)
    except OSError as problem:
        raise NoConnection(f"{ca_file} cannot be read as a certificate: {problem}") from None


def _key_origin(flags: ConnectionFlags, profile: Mapping[str, Any], environment: Mapping[str, str], data: Path) -> str:
    """Return where the key in force was found, for people."""
    if profile:
        name = flags.profile or environment.get("BACKFLEET_PROFILE") or profiles.DEFAULT
        return f"the profile {name}"
    if environment.get("ALIBABA_CLOUD_ACCESS_KEY_ID"):
        return "the environment (ALIBABA_CLOUD_ACCESS_KEY_ID)"
    return str(data / "admin.json")


def server_address(flags: ConnectionFlags, environment: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """Return the address of the server, with its scheme, and its region (empty if no profile names it).

    Raises:
        NoConnection: there is no server, or a file that should name it cannot be read.
    """
    local = _local(data_folder(flags.data, environment))
    profile = _profile_in_force(flags, environment, local)
    return _endpoint(flags, environment, profile, local), profile.get("region") or ""


def _profile_in_force(
    flags: ConnectionFlags, environment: Mapping[str, str], local: Mapping[str, Any]
) -> Mapping[str, Any]:
    profile = _profile(flags.profile or environment.get("BACKFLEET_PROFILE") or None, environment)
    if not profile and not environment.get("ALIBABA_CLOUD_ACCESS_KEY_ID") and not local.get("access_key_id"):
        return _own_profiles(environment).get(profiles.DEFAULT, {})
    return profile


def _endpoint(
    flags: ConnectionFlags, environment: Mapping[str, str], profile: Mapping[str, Any], local: Mapping[str, Any]
) -> str:
    data = data_folder(flags.data, environment)
    endpoint = (
        flags.endpoint
        or profile.get("endpoint")
        or environment.get("BACKFLEET_ENDPOINT")
        or local.get("https_endpoint")
    )
    if not endpoint:
        raise NoConnection(
            f"no server is named and {data} has none; give --endpoint HOST:PORT, or run `backfleet configure` or "
            "`backfleet serve`"
        )
    return _with_scheme(endpoint)


def data_folder(given: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the data folder of this machine's server."""
    return Path(given or environment.get("BACKFLEET_DATA") or DEFAULT_DATA).expanduser().absolute()


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
            "no access key is given; set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, give "
            f"--profile, or run where {data / 'admin.json'} can be read"
        )
    return Credentials(access_key_id=str(key_id), access_key_secret=str(secret), security_token=str(token))


def _own_profiles(environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the profiles that `backfleet configure` wrote, in the words of the `aliyun` command's file."""
    try:
        found = profiles.read(environment)
    except profiles.BadProfiles as problem:
        raise NoConnection(str(problem)) from None
    return {name: asdict(profile) | {"sts_token": profile.security_token} for name, profile in found.items()}


def _profile(name: str | None, environment: Mapping[str, str]) -> dict[str, Any]:
    if name is None:
        return {}
    own = _own_profiles(environment)
    if name in own:
        return own[name]
    file = Path(environment.get("ALIBABA_CLOUD_CONFIG_FILE") or "~/.aliyun/config.json").expanduser()
    config = _json(file)
    for profile in config.get("profiles", []):
        if isinstance(profile, dict) and profile.get("name") == name:
            if profile.get("mode") not in ("AK", "StsToken"):
                raise NoConnection(
                    f"profile {name!r} in {file} has the mode {profile.get('mode')!r}; use AK or StsToken"
                )
            return profile
    raise NoConnection(
        f"there is no profile {name!r} in {profiles.file_of(environment)} or {file}; add it with `backfleet configure "
        f"--profile {name}`, or name another with --profile"
    )


def _local(data: Path) -> dict[str, Any]:
    """Return what the server of this data folder wrote down: its first key, and where it listens now."""
    # Servers of some parts have a file each; of those that answer the API the last one to start counts.
    serving = [path for path in data.glob("serving*.json") if path.stem == "serving" or "openapi" in path.stem]
    return _json(data / "admin.json") | _json(max(serving, key=os.path.getmtime, default=data / "serving.json"))


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as problem:
        raise NoConnection(f"{file} cannot be read: {problem}") from None
    return found if isinstance(found, dict) else {}


def _file(name: str | None) -> Path | None:
    return Path(name) if name else None


def _with_scheme(endpoint: str) -> str:
    return (endpoint if "://" in endpoint else f"https://{endpoint}").rstrip("/")
