"""The order a host is given and the report it returns: the one module that control plane and host both import.

An order travels as the command content of a Cloud Assistant task: a first line that no shell runs by accident, then
JSON. While it is carried out the task's output is JSON lines, one `{"stage": ...}` for each step begun; the last
line is `{"report": ...}`. Everything is validated field by field on arrival: a host trusts no order further than its
fields, and the control plane no report.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

from backfleet_host.layout import PACKAGE, VERSION
from backfleet_host.platforms import PLATFORM

FIRST_LINE = "#!backfleet-order 1"

KINDS = ("install", "upgrade", "uninstall", "status", "recover")
OUTCOMES = ("succeeded", "failed")
STAGES = ("admit", "check", "fetch", "stage", "drain", "switch", "prove", "commit", "back")
"""The steps in the order they are taken; `back` stands for going back after a failed switch."""

CODES = (
    "",  # well
    "AlreadyCurrent",  # a note on a success
    "ClientNotInstalled",
    "UpgradeInProgress",
    "NotAllowedFrom",
    "UnsupportedPlatform",
    "DiskFull",
    "DownloadFailed",
    "UntrustedRelease",
    "BackupRunning",
    "ManagedElsewhere",
    "RepositoryFormatConflict",
    "HealthCheckFailed",
    "RolledBack",
    "RollbackFailed",
    "HostBusy",
    "TaskCancelled",  # stopped before the switch
    "InternalError",
)
"""What a report may say (upgrade-semantics, "item error codes")."""

LONGEST_MESSAGE = 1000  # characters of a report's message that are kept
LONGEST_PATIENCE = 30 * 86400  # seconds
FASTEST = 1 << 40  # bytes per second
LONGEST_ORDER = 16 * 1024  # characters of an order; far above any honest one

MOST_SETTINGS = 20
LONGEST_SETTING = 300  # characters

_SETTING = re.compile(r"[a-z_]{1,40}")
_PACKAGE = re.compile(PACKAGE)
_VERSION = re.compile(VERSION)
_ORDER_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_PLATFORM = re.compile(PLATFORM)


class Malformed(ValueError):
    """An order or a report that is not of the contract's form; the text says which field and why."""


@dataclass(frozen=True)
class Order:
    """What one host is asked to do with one package.

    `order_id` is the same when the same order is handed out again: the host then answers from its journal.
    `patience` is how many seconds the host may take from the moment it starts, waiting for running backups included.
    `downloads` is the address under which releases are found ("" = `/downloads` on the server of enrolment).
    `oldest_reader` is the lowest version of those who must read this host's backups ("" = nobody else must).
    `bytes_per_second` is how fast the host may download (0 = as fast as it can).
    `remove_state` lets an uninstall take the client's configuration and state along, which otherwise stay.
    `tries_again` lets an install or upgrade try a version that this host has taken back a short while ago.
    `settings` is what operators set for the client, for whatever runs it on the host: names and plain values.
    """

    order_id: str
    kind: str
    package: str
    version: str = ""  # the target; "" where the kind has none
    platform: str = ""
    patience: int = 840
    downloads: str = ""
    oldest_reader: str = ""
    bytes_per_second: int = 0
    settings: Dict[str, Any] = dataclasses.field(default_factory=dict)
    remove_state: bool = False
    tries_again: bool = False

    def __post_init__(self) -> None:
        _match("order_id", self.order_id, _ORDER_ID)
        _one_of("kind", self.kind, KINDS)
        _match("package", self.package, _PACKAGE)
        if self.kind in ("install", "upgrade") or self.version != "":
            _match("version", self.version, _VERSION)
        if self.kind in ("install", "upgrade") or self.platform != "":
            _match("platform", self.platform, _PLATFORM)
        if (
            isinstance(self.patience, bool)
            or not isinstance(self.patience, int)
            or not 1 <= self.patience <= LONGEST_PATIENCE
        ):
            raise Malformed(f"patience must be a whole number of seconds from 1 to 30 days, not {self.patience!r}")
        if self.oldest_reader != "":
            _match("oldest_reader", self.oldest_reader, _VERSION)
        most = self.bytes_per_second
        if isinstance(most, bool) or not isinstance(most, int) or not 0 <= most <= FASTEST:
            raise Malformed(f"bytes_per_second must be a whole number from 0 to {FASTEST}, not {most!r}")
        if not isinstance(self.downloads, str) or not re.fullmatch(r"(https?://[^\s\"'<>]{1,300})?", self.downloads):
            raise Malformed("downloads must be empty or an http(s) address")
        _plain("settings", self.settings)
        if not isinstance(self.remove_state, bool) or (self.remove_state and self.kind != "uninstall"):
            raise Malformed("remove_state is true or false, and true in an uninstall only")
        if not isinstance(self.tries_again, bool) or (self.tries_again and self.kind not in ("install", "upgrade")):
            raise Malformed("tries_again is true or false, and true in an install or upgrade only")

    def as_command(self) -> str:
        """The order as command content."""
        said = dataclasses.asdict(self)
        # A host that does not know one of these must be able to read other orders.
        for name in ("settings", "remove_state", "tries_again"):
            if not said[name]:
                del said[name]
        return f"{FIRST_LINE}\n{json.dumps(said, sort_keys=True)}\n"


@dataclass(frozen=True)
class Report:
    """How an order ended. `current_version` is what the host runs now: the truth, whatever the outcome."""

    order_id: str
    kind: str
    package: str
    outcome: str
    code: str = ""
    message: str = ""
    stage: str = ""  # where it ended
    from_version: str = ""
    to_version: str = ""
    current_version: str = ""  # "" = not installed
    seconds: float = 0.0
    details: Dict[str, Any] = dataclasses.field(default_factory=dict)  # of a status order: the whole status

    def __post_init__(self) -> None:
        _match("order_id", self.order_id, _ORDER_ID)
        _one_of("kind", self.kind, KINDS)
        _match("package", self.package, _PACKAGE)
        _one_of("outcome", self.outcome, OUTCOMES)
        _one_of("code", self.code, CODES)
        if self.stage != "":
            _one_of("stage", self.stage, STAGES)
        for name in ("from_version", "to_version", "current_version"):
            if getattr(self, name) != "":  # not "if it is true": 0, null and [] are no versions
                _match(name, getattr(self, name), _VERSION)
        if not isinstance(self.message, str):
            raise Malformed("message must be text")
        object.__setattr__(self, "message", self.message[:LONGEST_MESSAGE])
        if isinstance(self.seconds, bool) or not isinstance(self.seconds, (int, float)):
            raise Malformed("seconds must be a number")
        if not isinstance(self.details, dict):
            raise Malformed("details must be an object")

    def as_line(self) -> str:
        """The report as the last line of the task's output."""
        return json.dumps({"report": dataclasses.asdict(self)}, sort_keys=True)


def is_version(text: str) -> bool:
    """Whether this can be a version's name."""
    return _VERSION.fullmatch(text) is not None


def stage_line(stage: str) -> str:
    """One line of output: this step has begun."""
    _one_of("stage", stage, STAGES)
    return json.dumps({"stage": stage})


def is_order(content: str) -> bool:
    """Whether command content claims to be an order: any other content is a shell command."""
    return content.startswith(FIRST_LINE + "\n")


def read_order(content: str) -> Order:
    """The order in this command content.

    Raises:
        Malformed: not an order, too long, an unknown or missing field, or a value out of its form.
    """
    if not is_order(content):
        raise Malformed("the content is not an order")
    if len(content) > LONGEST_ORDER:
        raise Malformed(f"the order is longer than {LONGEST_ORDER} characters")
    return Order(**_fields(Order, content[len(FIRST_LINE) :], required=("order_id", "kind", "package")))


def read_output(output: str) -> Tuple[str, Optional[Report]]:
    """What a task's output tells: the last stage begun ("" if none) and the report, if it is there.

    Lines that are not ours are passed over: an agent may have cut the output's middle out.
    """
    stage, report = "", None
    for line in output.splitlines():
        said = _object_or_none(line)
        if said is None:
            continue
        if said.get("stage") in STAGES:
            stage = said["stage"]
        elif isinstance(said.get("report"), dict):
            try:
                report = read_report(said["report"])
            except Malformed:
                continue
    return stage, report


def read_report(fields: Dict[str, Any]) -> Report:
    """A report from its JSON object. Unknown fields are ignored: the host may be newer.

    Raises:
        Malformed: a missing field or a value out of its form.
    """
    known = {field.name for field in dataclasses.fields(Report)}
    missing = [name for name in ("order_id", "kind", "package", "outcome") if name not in fields]
    if missing:
        raise Malformed(f"the report lacks {', '.join(missing)}")
    return Report(**{name: value for name, value in fields.items() if name in known})


def _fields(of: type, text: str, required: Tuple[str, ...]) -> Dict[str, Any]:
    said = _object_or_none(text)
    if said is None:
        raise Malformed("the order is not a JSON object")
    known: List[str] = [field.name for field in dataclasses.fields(of)]
    unknown = sorted(set(said) - set(known))
    if unknown:
        raise Malformed(f"the order has unknown fields: {', '.join(unknown)}")
    missing = [name for name in required if name not in said]
    if missing:
        raise Malformed(f"the order lacks {', '.join(missing)}")
    return said


def _object_or_none(text: str) -> Optional[Dict[str, Any]]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):  # what is nested without end is not ours either
        return None
    return said if isinstance(said, dict) else None


def _match(name: str, value: Any, pattern: re.Pattern[str]) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise Malformed(f"{name} {value!r} is not of the form {pattern.pattern}")


def _plain(name: str, value: Any) -> None:
    if not isinstance(value, dict) or len(value) > MOST_SETTINGS:
        raise Malformed(f"{name} must be an object of at most {MOST_SETTINGS} members")
    for key, member in value.items():
        _match(f"a name in {name}", key, _SETTING)
        if not isinstance(member, (str, int)) or len(str(member)) > LONGEST_SETTING:
            raise Malformed(f"{name}.{key} must be text, a whole number or a boolean")


def _one_of(name: str, value: Any, allowed: Tuple[str, ...]) -> None:
    if value not in allowed:
        raise Malformed(f"{name} {value!r} is none of {', '.join(a or '(empty)' for a in allowed)}")
