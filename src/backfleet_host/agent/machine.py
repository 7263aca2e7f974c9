"""Facts about the machine, in the form in which a Cloud Assistant agent reports them."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import time
import uuid
from pathlib import Path
from typing import Sequence

MACHINE_ID_FILES = (
    Path("/var/lib/dbus/machine-id"),
    Path("/etc/machine-id"),
    Path("/sys/class/dmi/id/product_uuid"),
)
LOCAL_TIME, ZONE_NAME = Path("/etc/localtime"), Path("/etc/timezone")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,30}(/[A-Za-z0-9_+-]{1,30}){0,3}")


def machine_id(files: Sequence[Path] = MACHINE_ID_FILES) -> str:
    """Return the first id that the system has, or a random one where it has none, as in many containers."""
    return stored_machine_id(files) or uuid.uuid4().hex


def stored_machine_id(files: Sequence[Path] = MACHINE_ID_FILES) -> str:
    """Return the first id that the system has; "" where it has none."""
    for file in files:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            found = file.read_text(encoding="ascii").strip()
            if found:
                return found[:64]
    return ""


def os_version() -> str:
    """Return system, version and machine of uname, joined as the official agent joins them."""
    system = os.uname()
    return f"{system.sysname}_{system.version}_{system.machine}"


def time_zone(local: Path = LOCAL_TIME, named: Path = ZONE_NAME) -> str:
    """Return the name of the machine's time zone, such as Europe/Berlin; "" where it has none that is known by name.

    Args:
        local: the link into the time zone database, as timedatectl makes it.
        named: the file with the name alone, which some distributions have; read where the link is a file.
    """
    with contextlib.suppress(OSError):
        _, found, name = os.readlink(str(local)).rpartition("zoneinfo/")
        if found and _ZONE.fullmatch(name):
            return name
    with contextlib.suppress(OSError, UnicodeDecodeError):
        name = named.read_text(encoding="ascii").strip()
        if _ZONE.fullmatch(name):
            return name
    return ""


def uptime_ms() -> int:
    """Return how long the machine has been up, in milliseconds, rounded down to seconds."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME)) * 1000


def boot_id() -> str:
    """Return an id that differs after every boot, or "" where the system has none."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def is_shutting_down() -> bool:
    """Tell whether systemd is shutting the machine down or rebooting it. False where there is no systemd."""
    try:
        done = subprocess.run(["systemctl", "is-system-running"], capture_output=True, timeout=2, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.stdout.strip() == b"stopping"


def address_towards(host: str, port: int) -> str:
    """Return the local address that packets to `host` leave from, or "" if there is no route. Sends nothing."""
    try:
        family, kind, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(target)
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def zone_offset_seconds(now: float) -> int:
    """Return the offset of the local time zone east of UTC at this Unix time, in seconds."""
    return time.localtime(now).tm_gmtoff


def zone_name() -> str:
    """Return the IANA name of the local time zone, or `Etc/UTC` where the system does not name it."""
    with contextlib.suppress(OSError):
        target = os.readlink("/etc/localtime")
        if "zoneinfo/" in target:
            return target.split("zoneinfo/", 1)[1]
    return "Etc/UTC"
