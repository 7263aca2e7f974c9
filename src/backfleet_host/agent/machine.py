"""Facts about the machine, in the words in which a Cloud Assistant agent tells them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
import uuid
from pathlib import Path
from typing import Sequence

from backfleet_host import platforms

MACHINE_ID_FILES = (
    Path("/var/lib/dbus/machine-id"),
    Path("/etc/machine-id"),
    Path("/sys/class/dmi/id/product_uuid"),
)


def machine_id(files: Sequence[Path] = MACHINE_ID_FILES) -> str:
    """The first id that the system has; a drawn one where it has none (many containers)."""
    for file in files:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            found = file.read_text(encoding="ascii").strip()
            if found:
                return found[:64]
    return uuid.uuid4().hex


def architecture() -> str:
    """The processor as releases name it, `amd64` for example."""
    return platforms.architecture_here()


def platform() -> str:
    """What releases call this kind of machine, `linux-amd64` for example."""
    return platforms.platform_here()


def os_version() -> str:
    """System, version and machine of uname, joined as the official agent joins them."""
    system = os.uname()
    return f"{system.sysname}_{system.version}_{system.machine}"


def uptime_ms() -> int:
    """How long the machine has been up, in whole seconds, as milliseconds."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME)) * 1000


def boot_id() -> str:
    """Differs after every boot; empty where the system does not tell."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def goes_down() -> bool:
    """Whether the machine is being shut down or booted anew, as systemd tells; False where there is no systemd."""
    try:
        told = subprocess.run(["systemctl", "is-system-running"], capture_output=True, timeout=2, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return told.stdout.strip() == b"stopping"


def address_towards(host: str, port: int) -> str:
    """The local address from which packets to `host` leave; empty if there is no way. Sends nothing."""
    try:
        family, kind, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(target)
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def zone_offset_seconds(now: float) -> int:
    """East of UTC, at this Unix time."""
    return time.localtime(now).tm_gmtoff


def zone_name() -> str:
    """The time zone's IANA name as far as the system tells it, else `Etc/UTC`."""
    with contextlib.suppress(OSError):
        target = os.readlink("/etc/localtime")
        if "zoneinfo/" in target:
            return target.split("zoneinfo/", 1)[1]
    return "Etc/UTC"
