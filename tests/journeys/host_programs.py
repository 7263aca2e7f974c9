"""Versions of the host program: the real one, packed again with another number and, some of them, with a fault."""

import functools
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from backfleet_host.layout import HOST_PACKAGE
from backfleet_host.platforms import platform_here
from journeys.installation import Installation

PROGRAM = Path(__file__).resolve().parents[2] / "src" / "backfleet" / "backfleet-host.pyz"
RUNNING = "backfleet_host/agent/running.py"
AGENT = "    places = Places(root)\n    mode = SHELL if allow_shell else RESTRICTED\n"
SERVER = "    try:\n        signer = read_request_signer"
FAULTS = {
    "crashes": (AGENT, f"    raise SystemExit(1)\n{AGENT}"),
    "hangs": (AGENT, f"    signal.pause()\n{AGENT}"),
    "is alone": (SERVER, f"    identity = Identity(**{{**identity.__dict__, 'server': '127.0.0.1:1'}})\n{SERVER}"),
}
BROKEN = "f'broken-{__import__(\"backfleet_host\").VERSION}'"
LATER = f"    if (root / {BROKEN}).exists():\n        raise SystemExit(1)\n{AGENT}"
"""A fault that shows once somebody makes a file with the version in its name: the version proves itself before."""

PROOF_SECONDS = 40
FAULTY_PROOF_SECONDS = 15  # of versions with one of FAULTS: each of them takes as long as it may
PYTHON = shutil.which("python3", path="/usr/local/bin:/usr/bin") or sys.executable  # which every user may run


def program(version: str, fault: str = "") -> bytes:
    """Return the host program with this version, and with a fault in its agent."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(compiled())) as old, zipfile.ZipFile(packed, "w") as new:
        for entry in old.infolist():
            content = old.read(entry).decode("utf-8", "surrogateescape")
            if entry.filename == "backfleet_host/__init__.py":
                content += f'\nVERSION = "{version}"\n'
            if entry.filename == RUNNING and fault:
                before, after = FAULTS.get(fault, (AGENT, LATER))
                assert before in content
                content = content.replace(before, after)
            new.writestr(entry, content.encode("utf-8", "surrogateescape"))
    return b"#!" + PYTHON.encode() + b"\n" + packed.getvalue()


_COMPILE = """
import importlib._bootstrap_external as importing, importlib.util, os, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as old, zipfile.ZipFile(sys.argv[2], "w") as new:
    for entry in old.infolist():
        content = old.read(entry)
        new.writestr(entry, content)
        if entry.filename.endswith(".py") and entry.filename not in sys.argv[3:]:
            code = compile(content, entry.filename, "exec", dont_inherit=True)
            made = bytes(importing._code_to_hash_pyc(code, importlib.util.source_hash(content), False))
            folder, name = os.path.split(entry.filename)
            new.writestr(entry.filename + "c", made)  # for imports from the archive, and from where it is unpacked
            new.writestr(f"{folder}/__pycache__/{name[:-3]}.{sys.implementation.cache_tag}.pyc".lstrip("/"), made)
"""


@functools.cache
def compiled() -> bytes:
    """Return the host program with its modules compiled, so that it starts in a third of the time.

    Those that differ between versions, or that a fault may damage, are not. Compiling was most of what journeys of
    the host program computed: each version on each host did it.
    """
    changing = [RUNNING, "backfleet_host/__init__.py"]
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, HOST_PACKAGE)
        subprocess.run([PYTHON, "-c", _COMPILE, PROGRAM, made, *changing], check=True)
        return made.read_bytes()


def offer(
    server: Installation, version: str, unit: str, fault: str = "", upgrades_from: str = "", proof_seconds: int = 0
) -> None:
    """Offer a version of the host program, whose agent is this unit. 0 seconds of its proof are the usual ones."""
    file = server.folder / f"{version}.tar.gz"
    content = program(version, fault)
    with tarfile.open(file, "w:gz") as archive:
        info = tarfile.TarInfo(f"bin/{HOST_PACKAGE}")
        info.mode, info.size = 0o755, len(content)
        archive.addfile(info, io.BytesIO(content))
    usual = min(PROOF_SECONDS, FAULTY_PROOF_SECONDS) if fault in FAULTS else PROOF_SECONDS
    manifest = {
        "service": {"unit": unit},
        "health": {"command": [HOST_PACKAGE, "rehearse"], "expect": "", "seconds": proof_seconds or usual},
        **({"upgrades_from": upgrades_from} if upgrades_from else {}),
    }
    words = {"PackageName": HOST_PACKAGE, "ReleaseVersion": version, "Platform": platform_here()}
    server.client().upload(
        "AddRelease", file, lambda _sent: None, **words, Format="tar", FileName=file.name, Manifest=manifest
    )
