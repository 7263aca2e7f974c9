"""What happens to a host, or to its server, while the host program is upgraded: each fault comes, and is over.

A clock that jumps is a library that every process of a machine loads: the machine has no clock of its own. A file
system that becomes read-only is a read-only one mounted over it. A file is lost, emptied or cut in half while its host
runs, or as its power is cut.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from backfleet_host.layout import DEFAULT_ROOT
from journeys.host_programs import PYTHON
from journeys.self_upgrading import SelfUpgradingHost

HOURS: Final = (1, 12)  # by which a clock jumps
KILL: Final = """
import os, signal, sys
for name in filter(str.isdigit, os.listdir("/proc")):
    try:
        words = open(f"/proc/{name}/cmdline", "rb").read().split(b"\\0")[:-1]
        is_upgrader, is_agent = words[-1:] in ([b"carry"], [b"recover"]), b"run" in words and b"--root" in words
        is_ours = any(word.startswith(b"/opt/backfleet") for word in words)
        if {"upgrader": is_upgrader, "agent": is_agent, "all": is_ours}[sys.argv[1]] and int(name) != os.getpid():
            os.kill(int(name), signal.SIGKILL)
    except OSError:
        pass
"""
READ_ONLY: Final = f"mount --bind {DEFAULT_ROOT} {DEFAULT_ROOT} && mount -o remount,bind,ro {DEFAULT_ROOT}"
WRITABLE: Final = f"umount -l {DEFAULT_ROOT}"
FILES: Final = (
    "backfleet-host/journal", "backfleet-host/current", "backfleet-host/verified", "backfleet-host/previous",
    "backfleet-host/unproven", "backfleet-host/lock", "backfleet-host/outcome.json", "backfleet-host/facts/{new}.json",
    "backfleet-host/versions/{new}", "backfleet-host/versions/{new}/bin/backfleet-host", "backfleet-host/downloads/*",
    "agent/lock", "agent/ready.json", "agent/starts.json", "agent/boot",
    "agent/program/*/backfleet_host/agent/running.py", "agent/tasks/*/*", "trust/timestamp.json", "trust/snapshot.json",
)  # fmt: skip
"""What may be lost, below the root. Who a host is, and whose releases it trusts, is not among it: nothing brings that
back but an enrolment."""

CLOCK: Final = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static const volatile long none = 0;
static const volatile long *jump = 0;
static long jumped(void) {
  if (!jump) {
    const char *name = getenv("CLOCK_JUMP");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    void *found = file < 0 ? MAP_FAILED : mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
    if (file >= 0) close(file);
    jump = found == MAP_FAILED ? &none : found;
  }
  return *jump;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = syscall(SYS_clock_gettime, clock, now);
  if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += jumped();
  return failed;
}
int gettimeofday(struct timeval *now, void *zone) {
  int failed = syscall(SYS_gettimeofday, now, zone);
  if (!failed) now->tv_sec += jumped();
  return failed;
}
time_t time(time_t *there) {
  struct timeval now;
  gettimeofday(&now, 0);
  if (there) *there = now.tv_sec;
  return now.tv_sec;
}
"""


class Clocks:
    """Makes a clock for each machine that can jump; a machine needs nothing but two shared folders for it."""

    def __init__(self, folder: Path) -> None:
        """Build the library in this folder. It needs a C compiler."""
        self._folder, self._library = folder, folder / "clock.so"
        words = ["cc", "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", str(self._library)]
        subprocess.run(words, input=CLOCK.encode(), check=True)

    def share(self, root: Path) -> list[tuple[Path, Path]]:
        """Return what the machine of this root shares so that its clock can jump."""
        folder = self._folder / root.name
        folder.mkdir()
        self.jump(root, 0)
        given = " ".join(f"{name}={value}" for name, value in self.environment(root).items())
        (folder / "clock.conf").write_text(f"[Manager]\nDefaultEnvironment={given}\n")
        return [(self._folder, self._folder), (folder, Path("/etc/systemd/system.conf.d"))]

    def environment(self, root: Path) -> dict[str, str]:
        """Return the variables with which a program has the clock of this root."""
        return {"LD_PRELOAD": str(self._library), "CLOCK_JUMP": str(self._file(root))}

    def jump(self, root: Path, seconds: int) -> None:
        """Set the clock of a machine ahead by so many seconds of this one's, or behind."""
        file = os.open(self._file(root), os.O_RDWR | os.O_CREAT, 0o644)
        os.pwrite(file, seconds.to_bytes(8, sys.byteorder, signed=True), 0)
        os.close(file)

    def _file(self, root: Path) -> Path:
        return self._folder / root.name / "jump"


@dataclass
class Strike:
    """A fault that comes to one host now. `away` is how many seconds it lasts, `draw` what else is random."""

    host: SelfUpgradingHost
    version: str  # that the host is upgraded to
    away: float
    draw: random.Random
    clocks: Clocks
    stopping: threading.Lock  # held by who ends or stops the server of all

    def lose_a_file(self) -> str:
        """Remove, empty or cut one of the files that are there; return which, and how."""
        patterns = [name.format(new=self.version) for name in FILES]
        there = [sorted(self.host.root.glob(pattern)) for pattern in patterns]
        found = self.draw.choice([paths for paths in there if paths])
        path, how = self.draw.choice(found), self.draw.choice(("removed", "emptied", "cut"))
        with contextlib.suppress(OSError):  # it may have gone by itself
            if path.is_symlink() or (how == "removed" and not path.is_dir()):
                path.unlink()
            elif path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.truncate(path, 0 if how == "emptied" else path.stat().st_size // 2)
        return f"{path.relative_to(self.host.root)} {how}"


def kill(who: str) -> Callable[[Strike], str]:
    """Return the fault that kills processes of a host: `upgrader`, `agent` or `all`."""

    def strike(one: Strike) -> str:
        words = one.host.machine.entering(PYTHON, "-c", KILL, who)
        subprocess.run(words, check=False, capture_output=True)
        return ""

    return strike


def no_server(one: Strike) -> str:
    """Let the server be silent, as a network that loses everything."""
    with one.stopping:
        server = one.host.server.server
        assert server is not None
        server.send_signal(signal.SIGSTOP)
        time.sleep(one.away)
        server.send_signal(signal.SIGCONT)
    return ""


def server_killed(one: Strike) -> str:
    """Kill the server; connections are reset and refused until it is started again."""
    with one.stopping:
        one.host.server.kill()
        time.sleep(one.away)
        one.host.server.start()
    return ""


def full_disk(one: Strike) -> str:
    """Fill the disk of the root."""
    filler = one.host.root / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 65536)
    time.sleep(one.away)
    filler.unlink()
    return ""


def read_only(one: Strike) -> str:
    """Let the root be read-only for whatever is opened from now on."""
    machine = one.host.machine
    if subprocess.run(machine.entering("sh", "-c", READ_ONLY), check=False, capture_output=True).returncode:
        return "could not be made read-only"
    time.sleep(one.away)
    subprocess.run(machine.entering("sh", "-c", WRITABLE), check=True, capture_output=True)
    return ""


def power_cut(one: Strike) -> str:
    """End everything on the machine at once, and boot it."""
    one.host.machine.power_off()
    one.host.machine.boot()
    return ""


def reboot(one: Strike) -> str:
    """Shut the machine down in good order, and boot it."""
    one.host.machine.shut_down()
    one.host.machine.boot()
    return ""


def clock(sign: int) -> Callable[[Strike], str]:
    """Return the fault that lets the clock jump by hours, and back: `sign` is 1 or -1."""

    def strike(one: Strike) -> str:
        hours = sign * one.draw.randint(*HOURS)
        one.clocks.jump(one.host.root, hours * 3600)
        time.sleep(one.away)
        one.clocks.jump(one.host.root, 0)
        return f"{hours} hours"

    return strike


def file_lost(one: Strike) -> str:
    """Lose a file while everything runs."""
    return one.lose_a_file()


def file_lost_with_power(one: Strike) -> str:
    """Cut the power, and lose a file."""
    one.host.machine.power_off()
    lost = one.lose_a_file()
    one.host.machine.boot()
    return lost


FAULTS: Final[Mapping[str, Callable[[Strike], str]]] = MappingProxyType({
    "none": lambda _one: "",
    "kill upgrader": kill("upgrader"),
    "kill agent": kill("agent"),
    "kill all": kill("all"),
    "no server": no_server,
    "server killed": server_killed,
    "full disk": full_disk,
    "read-only disk": read_only,
    "power cut": power_cut,
    "reboot": reboot,
    "clock ahead": clock(1),
    "clock behind": clock(-1),
    "file lost": file_lost,
    "file lost with the power": file_lost_with_power,
})  # fmt: skip
"""Each fault by its name. It returns what was drawn of it, for people."""
