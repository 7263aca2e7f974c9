"""The host's own verification: its administrator's probes, run on the old version before the switch and on the new one.

A probe that fails before the switch already is part of the host's baseline, and no fault of the new version.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import secrets
import tempfile
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

from backfleet_host.manifest import Manifest
from backfleet_host.upgrader import descriptors
from backfleet_host.upgrader.errors import Unhealthy
from backfleet_host.upgrader.host.health import expect
from backfleet_host.upgrader.host.policy import Probe
from backfleet_host.upgrader.host.preserved_state import describe
from backfleet_host.upgrader.host.subprocesses import Runner, Subprocess

SAMPLE = (("notes/readme.txt", 2_000), ("notes/empty", 0), ("data.bin", 1_000_000))  # files and their sizes in bytes


def run_probe(probe: Probe, manifest: Manifest, tree: Path, runner: Runner) -> None:
    """Run one probe on a version.

    Raises:
        Unhealthy: the version fails it; the text names the probe.
    """
    try:
        if probe.command:
            expect(_command(probe, probe.command, manifest, tree), probe.expect, probe.name, runner)
        else:
            _back_up_and_restore(probe, manifest, tree, runner)
    except Unhealthy as problem:
        text = f"this host's probe {probe.name!r}: {problem.text}"
        passing, reason = problem.passing, problem.reason
        raise Unhealthy(text, problem.output, passing=passing, reason=reason, is_private=True) from None


def _back_up_and_restore(probe: Probe, manifest: Manifest, tree: Path, runner: Runner) -> None:
    """Back up a sample, restore it, compare."""
    with _temporary_folder() as folder:
        sample, restored = Path(folder) / "sample", Path(folder) / "restored"
        restored.mkdir()
        digests = _make_sample(sample)
        _give_to(probe.run.user, Path(folder))
        for template in (probe.backup, probe.restore):
            arguments = tuple(
                text.replace("{sample}", str(sample)).replace("{restored}", str(restored)) for text in template
            )
            expect(_command(probe, arguments, manifest, tree), "", arguments[0], runner)
        changed = [name for name, digest in digests.items() if describe(sample / name).get("sha256") != digest]
        if changed:
            raise Unhealthy(f"the backup changed the sample itself: {changed[0]}")
        differing = _first_differing(digests, restored)
        if differing:
            raise Unhealthy(f"what was restored differs from what was backed up: {differing}")


@contextlib.contextmanager
def _temporary_folder() -> Iterator[str]:
    """Make a folder that a probe's user may own, and remove it without following a link of his."""
    folder = tempfile.mkdtemp(prefix="backfleet-probe-")
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError), descriptors.parent_of(os.path.realpath(folder)) as at:
            descriptors.remove(at)


def _make_sample(folder: Path) -> Dict[str, str]:
    """Write files with random content; return the hash of each by its name."""
    digests = {}
    for name, size in SAMPLE:
        path, content = folder / name, secrets.token_bytes(size)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        digests[name] = hashlib.sha256(content).hexdigest()
    return digests


def _give_to(user: str, folder: Path) -> None:
    """Change the owner, of the folder itself last: until then nobody else can put links into it."""
    if user:
        entry = pwd.getpwnam(user)
        for path in [*sorted(folder.rglob("*"), reverse=True), folder]:
            os.lchown(str(path), entry.pw_uid, entry.pw_gid)


def _first_differing(digests: Dict[str, str], restored: Path) -> str:
    """Return the first file that was not restored unchanged, anywhere below `restored`; "" if all were."""
    found: Dict[str, List[Path]] = {}
    for path in restored.rglob("*"):
        found.setdefault(path.name, []).append(path)
    for name, digest in digests.items():
        if not any(describe(path).get("sha256") == digest for path in found.get(os.path.basename(name), [])):
            return name
    return ""


def _command(probe: Probe, arguments: Tuple[str, ...], manifest: Manifest, tree: Path) -> Subprocess:
    program = manifest.programs.get(arguments[0])
    resolved = arguments if program is None else (str(tree / program), *arguments[1:])
    run = probe.run
    return Subprocess(resolved, run.seconds, run.user, run.environment, run.limits)
