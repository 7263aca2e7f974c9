"""backfleet-host remove: this host leaves. Its clients stay as plain programs or go, by choice; all else goes.

In this order, so that a crash at any moment leaves a host on which the same command goes on:
 1. Refuse while an order is carried out or a client runs. Nothing was changed.
 2. Write down what is to become of the clients (`leaving.json`): from now on the choice stands.
 3. Stop the agent, and remove its unit.
 4. Hand the clients back, or remove them.
 5. Deregister at the server, if it can be reached.
 6. Write down how it ended, and delete the rest: `leaving.json` last.
"""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List

from backfleet_host.agent.protocol.address import BadAddress, read_address
from backfleet_host.agent.protocol.request_signature import read_request_signer
from backfleet_host.agent.protocol.server import Server, Unreachable, proxy_of, tls_towards
from backfleet_host.agent.runs.notes import SOCKET
from backfleet_host.agent.setup import systemd_unit
from backfleet_host.files import is_locked
from backfleet_host.identity import Identity, NotEnrolled, read_identity
from backfleet_host.layout import SYSTEMD_UNITS, Places, policy_folder
from backfleet_host.upgrader import Installation, disk, installation_at, leaving, recover_all
from backfleet_host.upgrader.failpoints import failpoint
from backfleet_host.upgrader.leaving import InTheWay

KEEP, REMOVE = "keep", "remove"
DEREGISTER = "/luban/api/instance/deregister"
SECONDS = 10.0


class CannotLeave(Exception):
    """The host cannot leave now; the text says why, what was changed, and what to do."""


@dataclass(frozen=True)
class Left:
    """What became of a host."""

    instance_id: str
    commands: List[str]  # that were handed back
    stays: List[str]  # folders
    is_deregistered: bool


def leave(root: Path, clients: str, progress: Callable[[str], None], units: Path = SYSTEMD_UNITS) -> Left:
    """Take this host out of the hands of its server.

    Args:
        root: The folder of this host.
        clients: KEEP or REMOVE. A removal that was cut off goes on with the choice of its beginning.
        progress: Called with a line for each step.
        units: Where systemd's units are.

    Raises:
        CannotLeave: something is in the way.
    """
    places = Places(root)
    marker = places.agent / "leaving.json"
    try:
        begun = disk.read_json(marker)
        if begun is not None and "left" in begun:
            _delete_rest(places)
            return Left(**begun["left"])
        identity, installation = read_identity(places), installation_at(root)
        if begun is None:
            _check_agent(places, units)
            leaving.check_idle(installation)
            begun = {"clients": clients, "versions": leaving.versions_to_keep(installation)}
            disk.write_json(marker, begun)
            failpoint("leaving")
        else:
            progress(f"goes on with what was begun: clients are to {begun['clients']}")
        return _leave(installation, identity, begun, progress, units)
    except (NotEnrolled, InTheWay) as problem:
        raise CannotLeave(str(problem)) from None
    except OSError as problem:
        text = f"{problem.filename or root} cannot be changed: {problem.strerror or problem}; run as root, once more"
        raise CannotLeave(text) from None


def _check_agent(places: Places, units: Path) -> None:
    """Refuse if an agent runs that no unit of ours has started: whoever started it would start it again."""
    if is_locked(places.lock) and not (units / systemd_unit.unit_name(places.root)).exists():
        raise CannotLeave(
            f"an agent of {places.root} runs, and not by a unit of ours; end it, and what starts it, and run this again"
        )


def _leave(
    installation: Installation, identity: Identity, begun: Dict[str, Any], progress: Callable[[str], None], units: Path
) -> Left:
    places, versions = Places(installation.root), begun["versions"]
    _stop_agent(places, units, progress)
    recover_all(installation.root, progress=lambda _line: None)  # what a crash, or the end of the agent, cut off
    leaving.check_idle(installation)
    commands: List[str] = []
    for name, version in sorted(versions.items()):
        if begun["clients"] == KEEP and not leaving.is_as_adopted(installation, name):
            commands += leaving.hand_back(installation, name, version)
        else:
            progress(f"removes {name} {version}, and gives back what was there before it, if anything was")
            leaving.remove_client(installation, name, f"leaving-{uuid.uuid4().hex}")
    is_deregistered = _deregister(places, identity)
    failpoint("deregistered")
    kept = versions if begun["clients"] == KEEP else {}
    stays: List[str] = []
    for package in installation.packages():
        stays += leaving.kept_aside(installation, package.name)
        version = kept.get(package.name, "")
        is_kept = bool(version) and package.tree(version).is_dir()
        stays += leaving.clear_package(installation, package.name, version if is_kept else "")
    left = Left(identity.instance_id, commands, stays, is_deregistered)
    disk.write_json(places.agent / "leaving.json", {**begun, "left": dataclasses.asdict(left)})
    failpoint("left")
    _delete_rest(places)
    return left


def _stop_agent(places: Places, units: Path, progress: Callable[[str], None]) -> None:
    name = systemd_unit.unit_name(places.root)
    if not (units / name).exists():
        return
    progress(f"stops {name}")
    try:
        systemd_unit.remove_unit(name, units)
    except systemd_unit.CannotServe as problem:
        raise CannotLeave(str(problem)) from None


def _deregister(places: Places, identity: Identity) -> bool:
    """Tell the server that this host is gone; return whether it knows. It may be gone itself."""
    try:
        server = Server(
            read_address(identity.server),
            tls_towards(places.authority),
            signer=read_request_signer(places, identity),
            proxy=proxy_of(places.root),
        )
        with contextlib.closing(server):
            return server.post(DEREGISTER, seconds=SECONDS).status == 200
    except (Unreachable, BadAddress, NotEnrolled, OSError):
        return False


def _delete_rest(places: Places) -> None:
    """Delete trust, runtime and the agent's folder: what was begun last. Done again, it goes on."""
    for folder in (places.trust, places.root / "runtime"):
        if folder.is_dir():
            disk.remove_tree(folder)
    with contextlib.suppress(FileNotFoundError):
        (places.root / SOCKET).unlink()
    marker = places.agent / "leaving.json"
    for entry in sorted(places.agent.iterdir()):
        if entry != marker:
            if entry.is_dir() and not entry.is_symlink():
                disk.remove_tree(entry)
            else:
                entry.unlink()
            failpoint("deleted")
    marker.unlink()
    places.agent.rmdir()
    with contextlib.suppress(OSError):  # handed-back clients, or what is somebody else's
        places.root.rmdir()


def lines_of(left: Left, root: Path) -> List[str]:
    """Return what became of a host, and what is left to do, as lines for people."""
    lines = [f"{left.instance_id} has left"]
    lines += [f"{path} is a plain program now" for path in left.commands]
    lines += [f"{path} stays" for path in left.stays]
    if not left.is_deregistered:
        lines.append(f"the server was not reached: run `backfleet instance deregister {left.instance_id}` there")
    if policy_folder(root).is_dir():
        lines.append(f"{policy_folder(root)} is yours and stays, as does this program")
    return lines
