"""Define the order that a host is given and the report that it returns.

An order travels as the command content of a Cloud Assistant task: a first line that no shell runs by accident, then
JSON. While the order is carried out, the task's output is JSON lines: one `{"stage": ...}` for each step begun, and
`{"report": ...}` at the end. Every field is checked on arrival: a host trusts no order further than its fields, and the
control plane no report.

Either side may be older than the other. So the names in JSON never change, a host refuses orders with fields that it
does not know, and the control plane ignores fields of reports that it does not know.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

from backfleet_host.layout import PACKAGE, VERSION
from backfleet_host.platforms import PLATFORM

FIRST_LINE = "#!backfleet-order 1"

OWN_AGENT = "backfleet-"
"""How the version of our own agent begins where agents name it: registration, heartbeats, User-Agent."""

KINDS = ("install", "upgrade", "uninstall", "status", "recover", "roll-back", "precheck", "stage", "settings")
"""A `roll-back` moves a host to its own previous version, or down to a named one. A `precheck` finds out what an
upgrade would be refused for; a `stage` also downloads and unpacks the version for an upgrade to come. `settings` saves
those of the client for whatever runs it, and touches no version."""

WITH_TARGET = ("install", "upgrade", "precheck", "stage")
"""The kinds that name a version."""
PREPARING = ("precheck", "stage")
"""The kinds that change nothing a user of the client could notice."""
OUTCOMES = ("succeeded", "failed")
CRASHED = "crashed"
"""The name in a report's details that is true where an order ended by an error that the program did not foresee."""
STAGES = ("admit", "check", "fetch", "stage", "drain", "switch", "prove", "commit", "back")
"""The steps in their order; `back` is the rollback after a failed switch."""

CODES = (
    "",  # no problem
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
"""The codes that a report may have (docs/api.md, error codes of items)."""

LONGEST_MESSAGE = 1000  # characters of a report's message that are kept
LONGEST_TIMEOUT_SECONDS = 30 * 86400
LARGEST_BYTES_PER_SECOND = 1 << 40
LONGEST_ORDER = 16 * 1024  # characters of an order; far more than any real one has

MOST_SETTINGS = 20
LONGEST_SETTING = 300  # characters

_JSON_NAMES = {"timeout_seconds": "patience"}  # fields of an order that have another name in JSON
_LATER_FIELDS = ("settings", "remove_state", "tries_again")  # that the first hosts do not know

_STAGE_LINES = {json.dumps({"stage": stage}): stage for stage in STAGES}
"""The lines that `stage_line` makes: to find one here takes a tenth of reading it as JSON."""

_SETTING = re.compile(r"[a-z_]{1,40}")
_PACKAGE = re.compile(PACKAGE)
_VERSION = re.compile(VERSION)
_ORDER_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_DOWNLOADS = re.compile(r"(https?://[^\s\"'<>]{1,300})?")
_PLATFORM = re.compile(PLATFORM)


class Malformed(ValueError):
    """An order or a report is not of the contract's form; the text says which field and why."""


@dataclass(frozen=True)
class Order:
    """What one host is asked to do with one package.

    Attributes:
        order_id: the same when the same order is handed out again; the host then answers from its journal.
        version: the target, "" where the kind has none; of a roll-back: "" = the host's own previous version.
        timeout_seconds: how long the host may take from its start, waiting for running backups included.
        downloads: the address of the releases; "" = `/downloads` on the server that the host enrolled with.
        oldest_reader: the lowest version that must still read this host's backups; "" = no other version must.
        bytes_per_second: how fast the host may download; 0 = as fast as it can.
        settings: what administrators set for the client, for whatever runs it on the host: names and plain values.
        remove_state: an uninstall removes the client's configuration and state, too, which otherwise stay.
        tries_again: an install or upgrade may try a version that is quarantined on this host.
    """

    order_id: str
    kind: str
    package: str
    version: str = ""
    platform: str = ""
    timeout_seconds: int = 840
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
        if self.kind in WITH_TARGET or self.version != "":
            _match("version", self.version, _VERSION)
        if self.kind in (*WITH_TARGET, "roll-back") or self.platform != "":
            _match("platform", self.platform, _PLATFORM)
        _whole_number("timeout_seconds", self.timeout_seconds, 1, LONGEST_TIMEOUT_SECONDS)
        if self.oldest_reader != "":
            _match("oldest_reader", self.oldest_reader, _VERSION)
        _whole_number("bytes_per_second", self.bytes_per_second, 0, LARGEST_BYTES_PER_SECOND)
        if not isinstance(self.downloads, str) or not _DOWNLOADS.fullmatch(self.downloads):
            raise Malformed(f"downloads is {str(self.downloads)[:80]!r}; it must be empty or an http(s) address")
        _plain("settings", self.settings)
        if not isinstance(self.remove_state, bool) or (self.remove_state and self.kind != "uninstall"):
            raise Malformed("remove_state is true or false, and true in an uninstall only")
        if not isinstance(self.tries_again, bool) or (self.tries_again and self.kind not in ("install", "upgrade")):
            raise Malformed("tries_again is true or false, and true in an install or upgrade only")

    def as_command(self) -> str:
        """Return the order as command content."""
        # A host that does not know one of these fields must be able to read other orders.
        fields = {key: value for key, value in self.to_json().items() if value or key not in _LATER_FIELDS}
        return f"{FIRST_LINE}\n{json.dumps(fields, sort_keys=True)}\n"

    def to_json(self) -> Dict[str, Any]:
        """Return every field under its name in JSON, as hosts store it."""
        return {_JSON_NAMES.get(name, name): value for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_json(cls, stored: Dict[str, Any]) -> Order:
        """Read what `to_json` gave, here or in another version of this program. Unknown fields are ignored.

        Raises:
            Malformed: a field is missing or not of its form.
        """
        names = _names_in_json()
        try:
            return cls(**{names[key]: value for key, value in stored.items() if key in names})
        except TypeError as problem:
            raise Malformed(f"the stored order cannot be read: {problem}") from None


@dataclass(frozen=True)
class Report:
    """How an order ended. `current_version` is what the host runs now, whatever the outcome.

    "Not installed" and "not known" are two values: where `version_known` is false, `current_version` is "" and says
    nothing about the host. Programs from before that field did not send it, and ignore it.
    """

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
    details: Dict[str, Any] = dataclasses.field(default_factory=dict)  # of a status order: the status of all packages
    version_known: bool = True  # false: the order ended before anybody looked what is installed

    def __post_init__(self) -> None:
        _match("order_id", self.order_id, _ORDER_ID)
        _one_of("kind", self.kind, KINDS)
        _match("package", self.package, _PACKAGE)
        _one_of("outcome", self.outcome, OUTCOMES)
        _one_of("code", self.code, CODES)
        if self.stage != "":
            _one_of("stage", self.stage, STAGES)
        for name in ("from_version", "to_version", "current_version"):
            if getattr(self, name) != "":  # compared with "", because 0, null and [] are no versions
                _match(name, getattr(self, name), _VERSION)
        if not isinstance(self.message, str):
            raise Malformed("message must be text")
        object.__setattr__(self, "message", self.message[:LONGEST_MESSAGE])
        if isinstance(self.seconds, bool) or not isinstance(self.seconds, (int, float)):
            raise Malformed("seconds must be a number")
        if not isinstance(self.details, dict):
            raise Malformed("details must be an object")
        if not isinstance(self.version_known, bool) or (self.current_version and not self.version_known):
            raise Malformed("version_known is true or false, and true where current_version names a version")

    def as_line(self) -> str:
        """Return the report as the last line of the task's output."""
        fields = dataclasses.asdict(self)
        if self.version_known:
            del fields["version_known"]
        return json.dumps({"report": fields}, sort_keys=True)


def stage_line(stage: str) -> str:
    """Return the line of output that says that a step has begun."""
    _one_of("stage", stage, STAGES)
    return json.dumps({"stage": stage})


def is_order(content: str) -> bool:
    """Return whether command content claims to be an order. Any other content is a shell command."""
    return content.startswith(FIRST_LINE + "\n")


def read_order(content: str) -> Order:
    """Read the order in command content.

    Raises:
        Malformed: it is no order, is too long, has an unknown field, or a field is missing or not of its form.
    """
    if not is_order(content):
        raise Malformed("the content is not an order")
    if len(content) > LONGEST_ORDER:
        raise Malformed(f"the order is longer than {LONGEST_ORDER} characters")
    return Order(**_order_fields(content[len(FIRST_LINE) :]))


def read_output(output: str) -> Tuple[str, Optional[Report]]:
    """Read a task's output.

    Lines of any other form are ignored: an agent may have cut out the middle of the output.

    Returns:
        The last stage begun ("" if none) and the report, if there is one.
    """
    stage, report = "", None
    for line in output.splitlines():
        begun = _STAGE_LINES.get(line)
        if begun is not None:
            stage = begun
            continue
        fields = _object_or_none(line)
        if fields is None:
            continue
        if fields.get("stage") in STAGES:
            stage = fields["stage"]
        elif isinstance(fields.get("report"), dict):
            try:
                report = read_report(fields["report"])
            except Malformed:
                continue
    return stage, report


def read_instead(output: str) -> str:
    """Return what a command for another agent printed of a program that it used instead of the server's; "" if nothing.

    Such a command prints `{"instead": {"wanted": ..., "used": ..., "why": ...}}`: the beginnings of two SHA-256.
    """
    for line in output.splitlines():
        found = (_object_or_none(line) or {}).get("instead")
        if isinstance(found, dict) and all(isinstance(found.get(key), str) for key in ("wanted", "used", "why")):
            wanted, used = (found[key][:16] for key in ("wanted", "used"))
            return f"the host program {wanted} does not work there, and {used} from before was used: {found['why']}"
    return ""


def read_report(fields: Dict[str, Any]) -> Report:
    """Read a report from its JSON object. Unknown fields are ignored: the host may be newer.

    Raises:
        Malformed: a field is missing or not of its form.
    """
    known = {field.name for field in dataclasses.fields(Report)}
    missing = [name for name in ("order_id", "kind", "package", "outcome") if name not in fields]
    if missing:
        raise Malformed(f"the report lacks {', '.join(missing)}")
    return Report(**{name: value for name, value in fields.items() if name in known})


def _order_fields(text: str) -> Dict[str, Any]:
    fields = _object_or_none(text)
    if fields is None:
        raise Malformed("the order is not a JSON object")
    names = _names_in_json()
    unknown = sorted(set(fields) - set(names))
    if unknown:
        raise Malformed(f"the order has unknown fields: {', '.join(unknown)}")
    missing = [name for name in ("order_id", "kind", "package") if name not in fields]
    if missing:
        raise Malformed(f"the order lacks {', '.join(missing)}")
    return {names[key]: value for key, value in fields.items()}


def _names_in_json() -> Dict[str, str]:
    """Return the name of each field of an order by its name in JSON."""
    return {_JSON_NAMES.get(field.name, field.name): field.name for field in dataclasses.fields(Order)}


def _object_or_none(text: str) -> Optional[Dict[str, Any]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):  # RecursionError: it is nested without end
        return None
    return found if isinstance(found, dict) else None


def _match(name: str, value: Any, pattern: re.Pattern[str]) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise Malformed(f"{name} {value!r} is not of the form {pattern.pattern}")


def _whole_number(name: str, value: Any, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        shown = f"{name} ({_JSON_NAMES[name]} in JSON)" if name in _JSON_NAMES else name
        raise Malformed(f"{shown} is {str(value)[:80]!r}; it must be a whole number from {least} to {most}")


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
