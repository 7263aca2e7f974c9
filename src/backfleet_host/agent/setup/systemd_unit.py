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
from typing import List, Sequence, Tuple

from backfleet_host.files import write_file
from backfleet_host.identity import read_identity
from backfleet_host.layout import DEFAULT_ROOT, HOST_PACKAGE, SYSTEMD, SYSTEMD_UNITS, Places

SYSTEMCTL_SECONDS = 60.0

_TEXT = """\
# Written by `backfleet-host service`. Change it with `systemctl edit {name}`.
[Unit]
Description=Backfleet's agent: keeps this host's backup client up to date
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart={command}
Restart=always
RestartSec=2
KillMode=process
TimeoutStopSec=20

[Install]
WantedBy=multi-user.target
"""


_WATCHDOG = """\
# Written by `backfleet-host service`: rolls an upgrade of the agent back that was cut off, by the version that was
# verified last; and a version that was kept and does not run any more, by the version before, if there is one.
[Unit]
Description=Rolls a version of Backfleet's agent back that does not work

[Service]
Type=oneshot
ExecStart=-{recover}
ExecStart=-{late}
"""

_TIMER = """\
# Written by `backfleet-host service`.
[Unit]
Description=Looks after upgrades of Backfleet's agent

[Timer]
OnBootSec=120
OnUnitInactiveSec=120

[Install]
WantedBy=timers.target
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
    timer = watchdog_name(name, "timer")
    if (units / timer).exists():
        _systemctl("enable", "--now", timer)


def enable_unit(name: str, root: Path, units: Path = SYSTEMD_UNITS) -> None:
    """Have systemd run the agent of this root from the next start of the machine on; also in a chroot.

    Raises:
        CannotServe: systemd refuses, or its units cannot be written.
    """
    if os.geteuid() != 0:
        raise CannotServe(_ONLY_ROOT)
    _write_unit(name, root, False, units)
    _systemctl("enable", name)
    if (units / watchdog_name(name, "timer")).exists():
        _systemctl("enable", watchdog_name(name, "timer"))


def _write_unit(name: str, root: Path, allow_shell: bool, units: Path) -> None:
    started = _program()
    command = [*_through(started, root, "current"), "run", "--root", str(root)]
    try:
        write_file(
            units / name,
            unit_text(name, [*command, *(["--allow-shell"] if allow_shell else [])]).encode(),
            mode=0o644,
        )
        if _through(started, root, "current") != started:
            _write_watchdog(name, started, root, units)
    except OSError as problem:
        raise CannotServe(f"{units / name} cannot be written: {problem.strerror}; run as root") from None


def _write_watchdog(name: str, started: List[str], root: Path, units: Path) -> None:
    recover = [*_through(started, root, "verified"), "watchdog", "--root", str(root)]
    late = [*_through(started, root, "previous"), "late-rollback", "--root", str(root)]
    text = _WATCHDOG.format(recover=" ".join(map(_quoted, recover)), late=" ".join(map(_quoted, late)))
    write_file(units / watchdog_name(name, "service"), text.encode(), mode=0o644)
    write_file(units / watchdog_name(name, "timer"), _TIMER.encode(), mode=0o644)


def watchdog_name(name: str, kind: str) -> str:
    """Return the name of the watchdog's unit of this kind, beside the agent's unit."""
    return f"{name[: -len('.service')]}-watchdog.{kind}"


def _through(command: List[str], root: Path, link: str) -> List[str]:
    """Return a command whose program is found through this link, if it is one of the package's versions."""
    package = root / HOST_PACKAGE
    try:
        inside = Path(command[-1]).relative_to((package / "versions").resolve())
    except ValueError:
        return command
    return [*command[:-1], str(package.joinpath(link, *inside.parts[1:]))]


def remove_unit(name: str, units: Path = SYSTEMD_UNITS) -> None:
    """Stop the agent and remove its unit. Clients that it installed stay.

    Raises:
        CannotServe: there is no such unit or no systemd, or it refuses.
    """
    _check_systemd()
    if not (units / name).exists():
        raise CannotServe(f"there is no unit {units / name}; nothing was changed")
    timer = watchdog_name(name, "timer")
    if (units / timer).exists():
        _systemctl("disable", "--now", timer)
        (units / timer).unlink()
        (units / watchdog_name(name, "service")).unlink(missing_ok=True)
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


def restarts_of(name: str) -> Tuple[str, int]:
    """Return the state of a unit, as systemd calls it, and how often systemd has started it again by itself.

    Returns:
        ("", 0) if systemd cannot be asked.
    """
    words = [shutil.which("systemctl") or "systemctl", "show", "--property=ActiveState,NRestarts", name]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SYSTEMCTL_SECONDS, check=True)
        found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        return found.get("ActiveState", ""), int(found.get("NRestarts") or 0)
    except (OSError, ValueError, subprocess.SubprocessError):
        return "", 0


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
