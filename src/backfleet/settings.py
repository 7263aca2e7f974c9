"""One frozen settings object, read once; every limit with its unit.

Flags go before the environment (`BACKFLEET_*`), that before the TOML file, that before the defaults here.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

PARTS = ("openapi", "agents", "downloads", "workers")
"""What one process can serve; all of it unless told otherwise."""

FORMER_PART_NAMES = {"assist": "agents"}
"""Names of parts in earlier builds, still accepted in settings files and scripts."""

MAY_BE_ZERO = frozenset({"host_bytes_per_second"})  # where 0 stands for no limit

DEFAULT_DATA = Path("~/.local/share/backfleet")


class BadSetting(ValueError):
    """A setting that cannot be used; the text names it, what was found and where it came from."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is in force. `origin` tells for each name where its value came from."""

    data: Path = DEFAULT_DATA
    http: str = "127.0.0.1:8080"  # API; loopback only unless given
    https: str = "0.0.0.0:8443"  # API, agents, downloads
    database_url: str = ""  # "" = SQLite in the data folder
    nats: str = ""  # nats://... or tls://..., several with commas: carries wakeups between processes
    only: tuple[str, ...] = PARTS
    region: str = "cn-hangzhou"  # the region this installation answers for
    public_host: str = ""  # further name or address in the server certificate
    default_package: str = ""  # what InstallBackupClients installs when it does not say; "" = the only one there is

    body_limit: int = 1 << 20  # bytes of a request's body; uploads stream and have their own limit
    line_limit: int = 256 * 1024  # bytes of a request line (SendFile and CommandContent travel in the URL)
    upload_limit: int = 8 << 30  # bytes of one artifact
    time_window_seconds: int = 900  # between a request's time and ours, either way
    nonce_seconds: int = 1900  # how long a nonce is remembered: more than twice the window
    require_tls: bool = False  # refuse operations over plain HTTP that the cloud refuses there

    calls_per_second: int = 200  # of one operation by one account, in the long run
    calls_burst: int = 1000  # likewise, at once

    task_seconds: int = 900  # a task's whole life
    task_days: int = 90  # how long tasks are kept
    audit_days: int = 400  # how long calls are kept in the audit trail: audits are asked for by the year
    token_hours: int = 24  # how long a ClientToken is remembered
    host_bytes_per_second: int = 0  # how fast one host may download; 0 = as fast as it can
    checkup_seconds: int = 86_400  # a client that was not heard of for longer: its host is asked how it stands
    fit_seconds: int = 180  # an agent without a socket, silent for longer, does not run
    most_sockets: int = 50_000  # agents connected to one process; more are refused
    handed_seconds: int = 10  # a command that was handed out and of which nothing is heard is handed out again
    lease_seconds: int = 90  # a running command without a sign of life for longer is in doubt

    log_level: str = "INFO"
    origin: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def database(self) -> str:
        """The address of the database in force."""
        return self.database_url or f"sqlite:///{self.data / 'backfleet.db'}"


def read_settings(flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from flags (those not None), environment, file and defaults, in that order of strength.

    The file is `BACKFLEET_CONFIG`, else `config.toml` in the data folder, if it exists.

    Raises:
        BadSetting: an unknown name in the file, or a value of the wrong kind.
    """
    kinds = {f.name: type(f.default) for f in fields(Settings) if f.name != "origin"}
    flags = {name: value for name, value in flags.items() if value is not None}
    found: dict[str, tuple[Any, str]] = {}
    data = Path(flags.get("data") or environment.get("BACKFLEET_DATA") or DEFAULT_DATA).expanduser()
    file = Path(environment.get("BACKFLEET_CONFIG") or data / "config.toml")
    for name, value in _in_file(file).items():
        if name not in kinds:
            raise BadSetting(f"{file}: unknown setting {name!r}; known are {', '.join(sorted(kinds))}")
        found[name] = (value, str(file))
    for name in kinds:
        variable = f"BACKFLEET_{name.upper()}"
        if environment.get(variable):
            found[name] = (environment[variable], variable)
    for name, value in flags.items():
        found[name] = (value, f"--{name.replace('_', '-')}")
    values = {name: _typed(name, kinds[name], value, origin) for name, (value, origin) in found.items()}
    values["data"] = data.absolute()
    origin = {name: found[name][1] if name in found else "default" for name in kinds}
    return Settings(**values, origin=origin)


def _in_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}  # whether the folder can be used is told when it is used
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise BadSetting(f"{file} cannot be read: {problem}") from None


def _typed(name: str, kind: type, value: Any, origin: str) -> Any:
    try:
        if name == "only":
            return _parts(value)
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[str(value).lower()]
        if kind is int:
            number = int(value)
            if number < (0 if name in MAY_BE_ZERO else 1):
                raise ValueError
            return number
        return Path(value).expanduser() if issubclass(kind, Path) else str(value)
    except (ValueError, KeyError, TypeError):
        raise BadSetting(f"{name} cannot be {value!r} (from {origin})") from None


def _parts(value: Any) -> tuple[str, ...]:
    named = tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else tuple(value)
    parts = tuple(FORMER_PART_NAMES.get(part, part) for part in named)
    if not parts or not set(parts) <= set(PARTS):
        raise ValueError
    return parts
