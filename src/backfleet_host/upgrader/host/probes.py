"""The host's own proof: its administrator's probes, asked of the old version before the switch, of the new one after.

What failed before the switch already is the host's baseline, no fault of the new version.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import secrets
import tempfile
from pathlib import Path
from typing import Dict, List, Tuple

from backfleet_host.manifest import Manifest
from backfleet_host.upgrader.host import shim
from backfleet_host.upgrader.host.health import expect
from backfleet_host.upgrader.host.policy import Probe
from backfleet_host.upgrader.host.preserved_state import describe
from backfleet_host.upgrader.host.subprocesses import Command, Runner
from backfleet_host.upgrader.refusal import Unwell

SAMPLE = (("notes/readme.txt", 2_000), ("notes/empty", 0), ("data.bin", 1_000_000))  # files and their sizes in bytes


def answers_well(probe: Probe, manifest: Manifest, tree: Path, runner: Runner) -> bool:
    """Whether this version passes the probe."""
    try:
        ask(probe, manifest, tree, runner)
    except Unwell:
        return False
    return True


def ask(probe: Probe, manifest: Manifest, tree: Path, runner: Runner) -> None:
    """Ask one probe of a version.

    Raises:
        Unwell: the answer is no; the text names the probe.
    """
    try:
        if probe.command:
            expect(_command(probe, probe.command, manifest, tree), probe.expect, probe.name, runner)
        else:
            _there_and_back(probe, manifest, tree, runner)
    except Unwell as problem:
        text = f"this host's probe {probe.name!r}: {problem.text}"
        raise Unwell(text, problem.output, passing=problem.passing) from None


def _there_and_back(probe: Probe, manifest: Manifest, tree: Path, runner: Runner) -> None:
    """Back up a sample, restore it, compare."""
    with tempfile.TemporaryDirectory(prefix="backfleet-probe-") as folder:
        sample, restored = Path(folder) / "sample", Path(folder) / "restored"
        restored.mkdir()
        digests = _make_sample(sample)
        _hand_over(Path(folder), probe.run.user)
        for words in (probe.backup, probe.restore):
            filled = tuple(word.replace("{sample}", str(sample)).replace("{restored}", str(restored)) for word in words)
            expect(_command(probe, filled, manifest, tree), "", filled[0], runner)
        touched = [name for name, digest in digests.items() if describe(sample / name).get("sha256") != digest]
        if touched:
            raise Unwell(f"backing it up changed the sample itself: {touched[0]}")
        differing = _differing(digests, restored)
        if differing:
            raise Unwell(f"what came back is not what was backed up: {differing}")


def _make_sample(folder: Path) -> Dict[str, str]:
    """Files that nobody has seen before, and the hash of each."""
    digests = {}
    for name, size in SAMPLE:
        path, content = folder / name, secrets.token_bytes(size)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        digests[name] = hashlib.sha256(content).hexdigest()
    return digests


def _hand_over(folder: Path, user: str) -> None:
    """The folder itself last: until then nobody but us can reach what is in it, and put a link in its place."""
    if user:
        entry = pwd.getpwnam(user)
        for path in [*sorted(folder.rglob("*"), reverse=True), folder]:
            os.lchown(str(path), entry.pw_uid, entry.pw_gid)


def _differing(digests: Dict[str, str], restored: Path) -> str:
    """The first file that did not come back as it was. Where below `restored` it stands is the client's affair."""
    came: Dict[str, List[Path]] = {}
    for path in restored.rglob("*"):
        came.setdefault(path.name, []).append(path)
    for name, digest in digests.items():
        if not any(describe(path).get("sha256") == digest for path in came.get(os.path.basename(name), [])):
            return name
    return ""


def _command(probe: Probe, words: Tuple[str, ...], manifest: Manifest, tree: Path) -> Command:
    program = manifest.programs.get(words[0])
    resolved = words if program is None else (str(tree / program), *words[1:])
    run = probe.run
    environment = {**run.environment, shim.ON_TRIAL: "1"}  # one that uses the shim must not wait for its own proof
    return Command(resolved, run.seconds, run.user, environment, run.limits)
