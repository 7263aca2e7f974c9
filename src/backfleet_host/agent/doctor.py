"""backfleet-host doctor: what is wrong with this host, and what to do.

It reads, asks the server once, and changes nothing.
"""

from __future__ import annotations

import os
import threading
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

from backfleet_host import upgrader
from backfleet_host.agent.protocol.address import BadAddress, read_address
from backfleet_host.agent.protocol.server import Server, Unreachable, proxy_of, tls_towards
from backfleet_host.agent.setup.systemd_unit import unit_name
from backfleet_host.agent.status import status
from backfleet_host.files import is_locked
from backfleet_host.identity import NotEnrolled, read_identity
from backfleet_host.layout import SYSTEMD, SYSTEMD_UNITS, Places, policy_folder
from backfleet_host.upgrader.adopting import programs_of
from backfleet_host.upgrader.disk import read_json
from backfleet_host.upgrader.errors import OrderFailed
from backfleet_host.upgrader.host.policy import read_host_policy, read_package_policy

OK, NOTE, WARNING, ERROR = "Ok", "Note", "Warning", "Error"
LABELS = {OK: "ok  ", NOTE: "note", WARNING: "WARN", ERROR: "BAD "}
EXIT_CODES = {OK: 0, NOTE: 0, WARNING: 3, ERROR: 1}
LEAST_FREE = 512 << 20  # bytes: a version, the next one and its download
ANSWER_SECONDS = 15.0  # for the name service and the server together
ROOT_SOON = timedelta(days=60)
KNOWN_CLIENTS = ("borg", "rclone", "restic")  # that servers have recipes for
DETECT = "/luban/api/connection_detect"


@dataclass(frozen=True)
class Finding:
    """What one check found, in the words of the server's doctor."""

    code: str
    severity: str
    found: str
    advice: str = ""


def worst(findings: List[Finding]) -> str:
    """Return the worst severity among findings."""
    return max((each.severity for each in findings), key=list(LABELS).index, default=OK)


def as_json(findings: List[Finding]) -> Dict[str, Any]:
    """Return findings under the keys of the server's doctor."""
    listed = [{name.capitalize(): value for name, value in asdict(each).items()} for each in findings]
    return {"Severity": worst(findings), "Findings": listed}


def lines_of(findings: List[Finding]) -> List[str]:
    """Return findings as lines for people."""
    lines = []
    for each in findings:
        lines.append(f"{LABELS[each.severity]} {each.code}: {each.found}")
        lines += [f"     -> {each.advice}"] if each.advice else []
    return lines


def examine(root: Path, now: datetime, units: Path = SYSTEMD_UNITS) -> Iterator[Finding]:
    """Check everything of a root. What has no identity is looked at no further.

    Args:
        root: The folder of this host.
        now: The time by this host's clock.
        units: Where systemd's units are.
    """
    places = Places(root)
    try:
        identity = read_identity(places)
    except NotEnrolled as problem:
        yield Finding("Identity", ERROR, str(problem), "`backfleet activation create` on the server prints the line")
        return
    yield Finding("Identity", OK, f"{identity.instance_id} of {identity.server}")
    yield check_key(places)
    yield check_disk(root)
    yield from check_server(places, identity.server)
    yield check_agent(places, units)
    yield check_trust(places, now)
    yield from check_policy(root)
    yield from check_packages(root, now)


def check_key(places: Places) -> Finding:
    """Check that the private key is there, and that nobody else can read it."""
    try:
        mode = places.key.stat().st_mode
    except OSError as problem:
        advice = "enrol this host again: `backfleet-host enrol --new-identity`"
        return Finding("Key", ERROR, f"{places.key} cannot be read: {problem.strerror}", advice)
    if mode & 0o077:
        advice = f"run chmod go-rwx {places.key}; if somebody may have read it, `backfleet-host enrol --new-identity`"
        return Finding("Key", ERROR, f"others can read {places.key}", advice)
    return Finding("Key", OK, "only its owner can read it")


def check_disk(root: Path) -> Finding:
    """Check that the disk of a root has space for another version, and can be written."""
    counts = os.statvfs(root)
    free = counts.f_bavail * counts.f_frsize
    if counts.f_flag & os.ST_RDONLY:
        return Finding("Disk", ERROR, f"the disk of {root} is read-only", "see `dmesg` for why, and mount it again")
    if counts.f_flag & os.ST_NOEXEC:
        advice = "mount it without noexec, or use another --root"
        return Finding("Disk", ERROR, f"nothing on the disk of {root} can be executed (noexec)", advice)
    found = f"{free >> 20} MiB free on the disk of {root}"
    if counts.f_files and not counts.f_favail:
        return Finding("Disk", ERROR, f"no inode is free on the disk of {root}", "delete small files there")
    if free < LEAST_FREE:
        return Finding("Disk", WARNING, found, "free some: orders end with DiskFull, and change nothing")
    return Finding("Disk", OK, found)


def check_server(places: Places, address: str) -> Iterator[Finding]:
    """Ask the server once, as the agent would: name, connection, proxy, certificate, clock."""
    results: List[Tuple[Finding, ...]] = []
    thread = threading.Thread(target=lambda: results.append(_ask(places, address)), daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    if results:
        yield from results[0]
    else:
        found = f"{address} has not answered within {ANSWER_SECONDS:g} s; the name service may be silent"
        yield Finding("Server", ERROR, found, f"try `getent hosts {address.rpartition(':')[0]}`, then curl")


def _ask(places: Places, address: str) -> Tuple[Finding, ...]:
    advice = "see whether the name, the port, the proxy and the firewall are right: curl -v https://" + address
    try:
        server = Server(read_address(address), tls_towards(places.authority), proxy=proxy_of(places.root))
    except BadAddress as problem:
        return (Finding("Server", ERROR, str(problem), f"correct it in {policy_folder(places.root)}"),)
    except OSError as problem:
        found = f"{places.authority} cannot be used: {problem.strerror or problem}"
        return (Finding("Server", ERROR, found, "copy the server's tls/ca.pem there, once its SHA-256 is compared"),)
    try:
        answer = server.get(DETECT)
    except Unreachable as problem:
        return (Finding("Server", ERROR, str(problem), advice),)
    finally:
        server.close()
    if answer.status >= 500:
        return (Finding("Server", ERROR, f"{address} answers with {answer.status}", "see its log and /readyz"),)
    clock = Finding("Clock", OK, "this host's and the server's agree")
    if server.clock_trouble:
        clock = Finding("Clock", WARNING, server.clock_trouble, "requests are refused if they differ by much")
    return (Finding("Server", OK, f"{address} answers, with the certificate that it must have"), clock)


def check_agent(places: Places, units: Path) -> Finding:
    """Check that the agent runs, and will after the next start of the machine."""
    unit = unit_name(places.root)
    start = f"`backfleet-host service --root {places.root}`"
    if not is_locked(places.lock):
        has_unit = (units / unit).exists()
        advice = f"systemctl status {unit}; journalctl -u {unit}" if has_unit else f"start it: {start}"
        return Finding("Agent", ERROR, "no agent of this root runs: this host gets no orders", advice)
    if SYSTEMD.is_dir() and not (units / unit).exists():
        return Finding("Agent", NOTE, "it runs, but no unit starts it with the machine", start)
    return Finding("Agent", OK, "it runs")


def check_trust(places: Places, now: datetime) -> Finding:
    """Check the root with which releases are verified."""
    root = read_json(places.trusted_root)
    try:
        text = str((root or {})["signed"]["expires"])
        ends = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except (KeyError, TypeError, ValueError):
        found = f"{places.trusted_root} is missing or cannot be read: no release can be verified"
        return Finding("Trust", ERROR, found, "enrol this host again: `backfleet-host enrol --new-identity`")
    if ends - now < ROOT_SOON:
        severity = ERROR if ends <= now else WARNING
        found = f"the root that this host knows ends on {ends:%Y-%m-%d}"
        return Finding("Trust", severity, found, "the next order brings a newer one, if the server has signed it")
    return Finding("Trust", OK, f"the root is valid until {ends:%Y-%m-%d}")


def check_policy(root: Path) -> Iterator[Finding]:
    """Check that every file of the host policy can be used: with one that cannot, orders are refused."""
    etc = policy_folder(root)
    files = sorted(etc.glob("*.toml")) if etc.is_dir() else []
    for file in files:
        try:
            if file.stem == "host":
                read_host_policy(etc)
            else:
                read_package_policy(etc, file.stem)
        except OrderFailed as problem:
            yield Finding("Policy", ERROR, str(problem), f"correct {file}: orders are refused until then")
            return
    yield Finding("Policy", OK, f"{len(files)} file(s) in {etc}")


def check_packages(root: Path, now: datetime) -> Iterator[Finding]:
    """Check each package: attempts that were cut off, drift, quarantined versions; and reports that are not sent."""
    try:
        packages = upgrader.status(root)["packages"]
        agent = status(root)
    except OSError as problem:
        found = f"{problem.filename or root} cannot be read: {problem.strerror or problem}"
        yield Finding("Packages", ERROR, found, "run as the user who enrolled the host")
        return
    for package in packages:
        yield _package(package, now, is_running=bool(agent["running"]))
    yield from check_others(root, [package["package"] for package in packages if package["current"]])
    waiting = agent["reports_waiting"]
    if waiting:
        found = f"{len(waiting)} report(s) wait to be sent"
        yield Finding("Reports", WARNING, found, "they are sent when the server is reached: see Server above")
    else:
        yield Finding("Reports", OK, "none waits")


def check_others(root: Path, installed: List[str]) -> Iterator[Finding]:
    """Note clients on this host that nobody here keeps up to date.

    Args:
        root: The folder of this host.
        installed: The packages that are.
    """
    for name in (name for name in KNOWN_CLIENTS if name not in installed):
        try:
            found = programs_of(upgrader.installation_at(root), name)
        except OSError:  # a folder of programs does not answer
            continue
        if found:
            advice = f"`backfleet-host adopt {name}` takes it over, with a way back"
            yield Finding(f"Package {name}", NOTE, f"{found[0]} is there, and no order upgrades it", advice)


def _package(package: Dict[str, Any], now: datetime, *, is_running: bool) -> Finding:
    name, version = package["package"], package["current"] or "not installed"
    code = f"Package {name}"
    if package["attempt_open"] and not is_running:
        return Finding(code, ERROR, f"{version}, and an attempt was cut off", "`backfleet-host recover` finishes it")
    if package["attempt_open"]:
        return Finding(code, NOTE, f"{version}, and an order is being carried out", "")
    if package.get("adoption_refused"):
        found = f"what is there was not taken over, and runs as before: {package['adoption_refused']}"
        return Finding(code, WARNING, found, f"mend that, then `backfleet-host adopt {name}` once more")
    if package["drift"]:
        found = f"{version}, and changed since its last order: {'; '.join(package['drift'][:3])}"
        return Finding(code, WARNING, found, "the next order mends what is ours; `backfleet-host status` shows all")
    held = [each for each, record in package["failures"].items() if (record.get("until") or 0) > now.timestamp()]
    if held:
        found = f"{version}; rolled back and not tried for a while: {', '.join(held)}"
        return Finding(code, WARNING, found, f"see why in {name}/failed under the root")
    return Finding(code, OK, version)
