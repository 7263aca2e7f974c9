"""The agent as a systemd unit, so that it runs after every start of the machine.

Processes of orders move out of the unit's control group by themselves (`execution.systemd_scope`). `KillMode=process`
keeps those alive that could not. Source: systemd.service(5), systemd.kill(5).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import List, Sequence

from backfleet_host.files import write_file
from backfleet_host.identity import read_identity
from backfleet_host.layout import DEFAULT_ROOT, SYSTEMD, SYSTEMD_UNITS, Places

SYSTEMCTL_SECONDS = 60.0

_TEXT = """\
# Written by `backfleet-host service`. Change it with `systemctl edit {name}`.
[Unit]
Description=Backfleet's agent: keeps this host's backup client up to date
Wants=network-online.target
After=network-online.target

[Service]
ExecStart={command}
Restart=always
RestartSec=2
KillMode=process
TimeoutStopSec=20

[Install]
WantedBy=multi-user.target
"""


_ONLY_ROOT = "only root can change units of systemd; run this command as root"


class CannotServe(Exception):
    """No unit can be made or removed here; the text says why and what to do, in one line."""


def unit_text(name: str, command: Sequence[str]) -> str:
    """Return the content of a unit that runs this command."""
    return _TEXT.format(name=name, command=" ".join(_quoted(argument) for argument in command))


def _quoted(argument: str) -> str:
    """Return an argument as systemd reads it: quotes, `%` and `$` have a meaning there."""
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if escaped != argument or " " in argument else argument


def unit_name(root: Path) -> str:
    """Return the name of the unit for this root. Each root has one, since a machine can have several roots."""
    if root == DEFAULT_ROOT:
        return "backfleet-host.service"
    return f"backfleet-host-{''.join(map(_escaped, os.fsencode(root).strip(b'/')))}.service"


def _escaped(byte: int) -> str:
    """Return a byte of a path as `systemd-escape --path` writes it. Source: systemd.unit(5)."""
    if byte == ord("/"):
        return "-"
    return chr(byte) if chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in "_.:") else f"\\x{byte:02x}"


def install_unit(name: str, root: Path, *, allow_shell: bool, units: Path = SYSTEMD_UNITS) -> None:
    """Have systemd run the agent of this root now and after every start of the machine. Again it changes nothing.

    Raises:
        CannotServe: there is no systemd, it refuses, or its units cannot be written.
        NotEnrolled: this root belongs to no server.
    """
    read_identity(Places(root))
    _check_systemd()
    _write_unit(name, root, allow_shell, units)
    _systemctl("daemon-reload")
    _systemctl("enable", name)
    _systemctl("restart", name)


def enable_unit(name: str, root: Path, units: Path = SYSTEMD_UNITS) -> None:
    """Have systemd run the agent of this root from the next start of the machine on; also in a chroot.

    Raises:
        CannotServe: systemd refuses, or its units cannot be written.
    """
    if os.geteuid() != 0:
        raise CannotServe(_ONLY_ROOT)
    _write_unit(name, root, False, units)
    _systemctl("enable", name)


def _write_unit(name: str, root: Path, allow_shell: bool, units: Path) -> None:
    command = [*_program(), "run", "--root", str(root), *(["--allow-shell"] if allow_shell else [])]
    try:
        write_file(units / name, unit_text(name, command).encode(), mode=0o644)
    except OSError as problem:
        raise CannotServe(f"{units / name} cannot be written: {problem.strerror}; run as root") from None


def remove_unit(name: str, units: Path = SYSTEMD_UNITS) -> None:
    """Stop the agent and remove its unit. Clients that it installed stay.

    Raises:
        CannotServe: there is no such unit or no systemd, or it refuses.
    """
    _check_systemd()
    if not (units / name).exists():
        raise CannotServe(f"there is no unit {units / name}; nothing was changed")
    _systemctl("disable", "--now", name)
    (units / name).unlink()
    _systemctl("daemon-reload")


def _check_systemd() -> None:
    if not SYSTEMD.is_dir():
        raise CannotServe("this host has no systemd; let whatever starts its services run `backfleet-host run`")
    if os.geteuid() != 0:
        raise CannotServe(_ONLY_ROOT)


def _program() -> List[str]:
    """Return the command that starts this program: Python with the archive or the module, or one executable."""
    if getattr(sys, "frozen", False):
        return [sys.executable]
    started = Path(sys.argv[0]).resolve()
    if started.name == "__main__.py":
        return [sys.executable, "-m", "backfleet_host"]
    return [sys.executable, str(started)]


def _systemctl(*arguments: str) -> None:
    try:
        done = subprocess.run(
            [shutil.which("systemctl") or "systemctl", *arguments],
            capture_output=True,
            text=True,
            timeout=SYSTEMCTL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as problem:
        raise CannotServe(f"systemctl {arguments[0]}: {problem}") from None
    if done.returncode != 0:
        raise CannotServe(f"systemctl {' '.join(arguments)}: {done.stderr.strip() or done.returncode}")
