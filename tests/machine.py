"""A machine inside this one, with a real systemd as its first process: it boots, runs units, and loses its power.

Its disk is this machine's; what it writes is kept in memory. Shared folders, its units among them, are the same on both
sides and survive its power cuts. The network is this machine's own. It needs root and Linux namespaces.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

SYSTEMD = Path("/lib/systemd/systemd")
BOOT_SECONDS = 120.0
SHUT_DOWN_SECONDS = 60.0  # then the power goes, as an administrator would have it

# Its control groups are below one of its own: systemd takes the root that it sees for its alone.
_GROUPS = [Path("/sys/fs/cgroup", name) for name in ("", "unified", "systemd")]
_SWITCH = """
for group in $GROUPS; do echo $$ > "$group/cgroup.procs"; done
exec unshare --fork --pid --mount --cgroup --ipc --uts --kill-child sh -c "$BOOT"
"""

_BOOT = r"""
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$HOME_OF_IT"
cd "$HOME_OF_IT"
mkdir written work root
mount -t overlay overlay -o lowerdir=/,upperdir=written,workdir=work root
cd root
mount -t proc proc proc
mount -t tmpfs tmpfs run
mount -t sysfs -o ro sysfs sys
if [ -e /sys/fs/cgroup/cgroup.procs ]; then
  mount -t cgroup2 cgroup2 sys/fs/cgroup
else
  mount -t tmpfs tmpfs sys/fs/cgroup
  mkdir sys/fs/cgroup/unified sys/fs/cgroup/systemd
  mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
  mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
  mount -o remount,ro sys/fs/cgroup  # no other controllers, which it would share with this machine
fi
mount --rbind /dev dev
tab=$(printf '\t')
printf '%s\n' "$SHARED" | while IFS="$tab" read -r folder there; do
  mkdir -p ".$there"
  mount --bind "$folder" ".$there"
done
mount --bind "$UNITS" etc/systemd/system
mount -t tmpfs tmpfs lib/systemd/system/multi-user.target.wants  # what this machine starts is not what that one is for
rm -f etc/machine-id && echo 0123456789abcdef0123456789abcdef > etc/machine-id
exec env -i container=test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  chroot . "$SYSTEMD" --system --unit=multi-user.target --log-level=notice --log-target=console --show-status=no
"""

_TARGET = """
[Unit]
Description=What this machine is for
Requires=dbus.socket
After=dbus.socket
AllowIsolate=yes
"""


# Units that would hide or empty /tmp, where this project may be, and its tests are.
_MASKED = ("tmp.mount", "systemd-tmpfiles-setup.service", "systemd-tmpfiles-clean.timer")


def why_not() -> str:
    """Return why no machine can be made here; empty if one can."""
    if os.geteuid() != 0:
        return "only root makes machines"
    missing = [name for name in ("unshare", "nsenter", "busctl", "dbus-daemon") if shutil.which(name) is None]
    if missing or not SYSTEMD.exists():
        return f"no {', '.join(missing) or SYSTEMD}"
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--cgroup", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        capture_output=True, check=False,
    )  # fmt: skip
    return "" if tried.returncode == 0 else f"no namespaces here: {tried.stderr.decode()}"


class Machine:
    """A machine that is booted, runs programs, and loses its power."""

    def __init__(self, folder: Path, shared: Sequence[Path | tuple[Path, Path]]) -> None:
        """Name its own folder, and folders to share: each at its own path, or at that beside it."""
        self.folder = folder
        self._shared = [each if isinstance(each, tuple) else (each, each) for each in [*shared, *_on_other_disks()]]
        self.units = folder / "units"
        self.units.mkdir(parents=True)
        (folder / "home").mkdir()
        self.log = folder / "console"
        self.unit("multi-user.target", _TARGET)
        for name in _MASKED:
            (self.units / name).symlink_to("/dev/null")
        name = f"backfleet-{os.getpid()}-{folder.name}"
        self._groups = [group / name for group in _GROUPS if (group / "cgroup.procs").exists()]
        self._outer: subprocess.Popen[bytes] | None = None

    def unit(self, name: str, text: str) -> None:
        """Write a unit; it exists from the next boot or reload on."""
        (self.units / name).write_text(text)

    def boot(self) -> None:
        """Switch the machine on, and wait until it is up."""
        given = {
            "PATH": os.environ["PATH"], "HOME_OF_IT": str(self.folder / "home"), "UNITS": str(self.units),
            "SHARED": "\n".join(f"{here}\t{there}" for here, there in self._shared), "SYSTEMD": str(SYSTEMD),
            "BOOT": _BOOT, "GROUPS": " ".join(map(str, self._groups)),
        }  # fmt: skip
        for group in self._groups:
            group.mkdir()
        with self.log.open("ab") as log:
            self._outer = subprocess.Popen(
                ["sh", "-c", _SWITCH],
                env=given,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + BOOT_SECONDS
        while self._state() not in ("running", "degraded"):
            assert self._outer.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.1)

    def run(self, *words: str | Path, seconds: float = 60.0) -> "subprocess.CompletedProcess[str]":
        """Run a program on the machine, as a unit of its own."""
        return self._enter("systemd-run", "--quiet", "--wait", "--pipe", "--collect", *map(str, words), seconds=seconds)

    def systemctl(self, *words: str) -> str:
        """Run systemctl on the machine; return its output."""
        return self._enter("systemctl", *words).stdout.strip()

    def power_off(self) -> None:
        """Cut the power: every process ends at once, without a signal and without another write."""
        if self._outer is None:
            return
        self._outer.kill()
        self._outer.wait()
        self._outer = None
        for group in self._groups:
            for inner in sorted([group, *group.glob("**/")], reverse=True):
                _remove_group(inner)

    def shut_down(self) -> None:
        """Shut the machine down in good order: its units are stopped, then everything else ends."""
        assert self._outer is not None, "it is switched off"
        self.systemctl("poweroff", "--no-block")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._outer.wait(SHUT_DOWN_SECONDS)
        self.power_off()

    def _state(self) -> str:
        return self.systemctl("is-system-running") if self._first_process() else ""

    def entering(self, *words: str) -> list[str]:
        """Return the arguments that start a program on the machine."""
        first = self._first_process()
        assert first, "it is switched off"
        return ["nsenter", "-t", str(first), "-m", "-p", "-i", "-u", "-C", "-r", "-w", *words]

    def _enter(self, *words: str, seconds: float = 60.0) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(self.entering(*words), capture_output=True, text=True, timeout=seconds, check=False)

    def _first_process(self) -> int:
        if self._outer is None:
            return 0
        with contextlib.suppress(OSError):
            outer = self._outer.pid
            children = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
            if children and Path(f"/proc/{children[0]}/comm").read_text() == "systemd\n":  # before that it is the boot
                return int(children[0])
        return 0


def _remove_group(group: Path) -> None:
    """Remove the group once its last process is gone; the kernel ends them with the first one, but not all at once."""
    until = time.monotonic() + 5.0
    while group.is_dir():
        try:
            group.rmdir()
        except OSError:
            assert time.monotonic() < until, f"{group} is in use by {(group / 'cgroup.procs').read_text().split()}"
            time.sleep(0.01)


def _on_other_disks() -> list[Path]:
    """Return folders that tests need and that are not on the disk that the machine sees."""
    needed = [Path(__file__).resolve().parents[1], Path(sys.prefix), Path(sys.base_prefix)]
    return [path for path in needed if path.stat().st_dev != Path("/").stat().st_dev]


@contextlib.contextmanager
def switched_on(folder: Path, shared: Sequence[Path | tuple[Path, Path]]) -> Iterator[Machine]:
    """Provide a machine that is up, and remove it afterwards."""
    machine = Machine(folder, shared)
    try:
        machine.boot()
        yield machine
    finally:
        machine.power_off()
