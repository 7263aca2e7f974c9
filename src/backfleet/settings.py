"""The settings of the server: one frozen object, read once; every limit with its unit.

A flag overrides the environment (`BACKFLEET_*`), which overrides the TOML file, which overrides the defaults here.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import Any

from backfleet.values import value_object

DEFAULT_HTTP, DEFAULT_HTTPS = "127.0.0.1:8080", "0.0.0.0:8443"
PARTS = ("openapi", "console", "agents", "downloads", "workers")
"""What one process can serve: all of it, unless `only` says otherwise."""

FORMER_PART_NAMES = {"assist": "agents"}
"""Names of parts in earlier builds, still accepted in settings files and scripts."""

MAY_BE_ZERO = frozenset(
    {"host_bytes_per_second", "most_connections", "most_connections_per_address", "backup_days", "delta_megabytes"}
)  # 0 means no limit, or none at all

MOST_PROCESSES = 64

DEFAULT_DATA = Path("~/.local/share/backfleet")


class BadSetting(ValueError):
    """A setting cannot be used; the text names it, its value and where that came from."""


@value_object
class Settings:
    """The settings in force. `origin` says for each name where its value came from."""

    data: Path = DEFAULT_DATA
    http: str = DEFAULT_HTTP  # API; loopback only by default
    https: str = DEFAULT_HTTPS  # API, agents, downloads
    database_url: str = ""  # "" = SQLite in the data folder
    nats: str = ""  # nats://... or tls://..., several with commas: carries notifications between processes
    only: tuple[str, ...] = PARTS
    processes: int = 1  # that answer calls; "auto" = one for each core. One of them has the workers
    hold_listeners: bool = True  # a small parent process holds the listeners while the server restarts
    trusted_proxies: str = ""  # networks of balancers, with commas: they are believed about who is behind them
    forwarded_header: str = "X-Forwarded-For"  # the one that they write (with X-Forwarded-Proto), or Forwarded
    proxy_protocol: str = ""  # listeners that require the PROXY protocol of every connection: http, https or both
    region: str = "cn-hangzhou"  # the region that this installation answers for
    public_host: str = ""  # a further name or address in the server certificate
    default_package: str = ""  # what InstallBackupClients installs if the call names none; "" = the only one there is

    body_limit: int = 1 << 20  # bytes of a request's body; uploads stream and have their own limit
    line_limit: int = 256 * 1024  # bytes of a request line (SendFile and CommandContent travel in the URL)
    upload_limit: int = 8 << 30  # bytes of one artifact
    delta_megabytes: int = 2048  # of memory that making a delta between two releases may take; 0 = none is made
    time_window_seconds: int = 900  # between a request's time and the server's, either way
    nonce_seconds: int = 1900  # how long a nonce is remembered; must be more than twice the window
    console_https: bool = False  # serve the console on the https listener too, and not only on the plain one
    console_idle_seconds: int = 3600  # a session of the console ends when its person asks for nothing for so long
    console_seconds: int = 43_200  # it ends after so long in any case
    console_oidc_file: str = ""  # the identity providers by which people log in to the console; "" = none
    require_tls: bool = False  # refuse over plain HTTP what the cloud refuses there

    calls_per_second: int = 200  # of one operation by one account, on average
    calls_burst: int = 1000  # of one operation by one account, at once

    call_seconds: int = 30  # after which a call that has changed nothing yet is given up
    lock_seconds: int = 8  # how long a statement waits for a lock; official clients give a call up after 10
    statement_seconds: int = 30  # how long one statement may take

    outbound_allowed: str = ""  # where gates of rollouts may ask: names (*.example.com, name:port) and networks, commas
    outbound_authority: str = ""  # a file of certificates for these and prometheus_url; "" = those of the system
    traces_endpoint: str = ""  # http(s)://host:port of a collector that takes traces (OTLP); "" = the OTEL_* variables
    prometheus_url: str = ""  # whom `prometheus` gates ask that name no url
    artifacts_url: str = ""  # s3://bucket/prefix: artifacts are in an object store; "" = in the data folder
    artifacts_endpoint: str = ""  # https://host:port of one that is not AWS; "" = AWS, in the region
    artifacts_region: str = ""  # of the bucket; "" = AWS_REGION, else us-east-1
    artifacts_credentials_file: str = ""  # a file as AWS's tools have, section [default]; "" = environment or role
    artifacts_cache_bytes: int = 20 << 30  # that artifacts of an object store take in the data folder at most
    webhook_secret_file: str = ""  # a file with `whsec_...`: signs webhooks (Standard Webhooks)

    ssh_allowed: str = ""  # hosts that the server may go to by SSH: names and networks as above; "" = none

    ecs_allowed: str = "*.aliyuncs.com"  # where clouds of the carrier `ecs` may be: names and networks as above
    ecs_own_credentials_for: str = ""  # accounts (ids, commas) that may use credentials found where the server runs
    ssm_allowed: str = "*.amazonaws.com,*.amazonaws.com.cn"  # where AWS of the carrier `ssm` may be, as above
    ssm_own_credentials_for: str = ""  # accounts that may use credentials of AWS found where the server runs, as above

    task_seconds: int = 900  # how long a task may take
    task_days: int = 90  # how long tasks are kept
    audit_days: int = 400  # how long calls are kept in the audit trail; audits ask for a year
    refusals_recorded: int = 100  # refused calls of one key that have a row in the trail each, within ten minutes
    token_hours: int = 24  # how long a ClientToken is remembered
    host_bytes_per_second: int = 0  # how fast one host may download; 0 = as fast as it can
    checkup_seconds: int = 86_400  # a client not heard of for longer is checked on its host
    fit_seconds: int = 180  # an agent that neither used its socket nor asked for tasks for longer cannot be given work
    most_connections: int = 0  # open at once in one process; 0 = as many as its descriptors allow
    most_connections_per_address: int = 0  # 0 = three quarters of all; a trusted proxy may have all
    stalled_seconds: int = 60  # a connection whose other end takes nothing for longer is closed
    most_sockets: int = 50_000  # agents connected to one process; more are refused
    handed_seconds: int = 10  # a command handed out and not reported on for longer is handed out again
    lease_seconds: int = 90  # a running command not reported on for longer counts as lost

    notify_program: str = ""  # started with each notification as JSON on its standard input; "" = none
    smtp_url: str = ""  # smtp://user@host:587 (STARTTLS), smtps://user@host:465, smtp+plain://localhost:25
    smtp_password_file: str = ""
    smtp_sender: str = ""  # the address that mail comes from
    backup_days: int = 7  # without `backfleet backup` for longer, GetServerHealth warns; 0 = it is backed up otherwise
    lost_seconds: int = 1800  # a host not heard of for longer, and not shut down, is a notification

    log_level: str = "INFO"
    origin: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def database(self) -> str:
        """The URL of the database in force."""
        return self.database_url or f"sqlite:///{self.data / 'backfleet.db'}"


def read_settings(flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings from flags, environment, file and defaults; the first that has a value wins.

    Args:
        flags: Values by setting name; None where a flag was not given.
        environment: `BACKFLEET_*`. `BACKFLEET_CONFIG` names the file; it is `config.toml` in the data folder otherwise.

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
        return {}  # a data folder that cannot be used is reported when it is used
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise BadSetting(f"{file} cannot be read: {problem}") from None


def _typed(name: str, kind: type, value: Any, origin: str) -> Any:
    least = 0 if name in MAY_BE_ZERO else 1
    wanted = {bool: "true or false", int: f"a whole number, at least {least}", tuple: f"some of {', '.join(PARTS)}"}
    try:
        if name == "only":
            return _parts(value)
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[str(value).lower()]
        if name == "processes" and value == "auto":
            return min(len(os.sched_getaffinity(0)), MOST_PROCESSES)
        if kind is int:
            number = int(value.encode("ascii") if isinstance(value, str) else value)  # no digits of other scripts
            if number < least or (name == "processes" and number > MOST_PROCESSES):
                raise ValueError
            return number
        return Path(value).expanduser() if issubclass(kind, Path) else str(value)
    except (ValueError, KeyError, TypeError):
        hint = f"; it must be {wanted[kind]}" if kind in wanted else ""
        if name == "processes":
            hint = f"; it must be a whole number from 1 to {MOST_PROCESSES}, or auto"
        raise BadSetting(f"{name} cannot be {value!r} (from {origin}){hint}") from None


def _parts(value: Any) -> tuple[str, ...]:
    named = tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else tuple(value)
    parts = tuple(FORMER_PART_NAMES.get(part, part) for part in named)
    if not parts or not set(parts) <= set(PARTS):
        raise ValueError
    return parts
