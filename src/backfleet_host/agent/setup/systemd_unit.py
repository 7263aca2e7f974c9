"""The agent as a unit of systemd: there after every start of the machine, without anybody's terminal.

Orders leave the unit's group by themselves where systemd lets them (scope.py); `KillMode=process` keeps those alive
that could not. Source: systemd.service(5), systemd.kill(5).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import List, Sequence

from backfleet_host.identity import read_identity
from backfleet_host.layout import Places, write_whole

SYSTEMD = Path("/run/systemd/system")  # is there exactly where systemd is the first process: sd_booted(3)
UNITS = Path("/etc/systemd/system")
SECONDS = 60.0  # that systemd may take for one wish

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


class CannotServe(Exception):
    """Why no unit can be made here, and what to do, in one line."""


def text_of(name: str, words: Sequence[str]) -> str:
    """The unit that runs these words. Pure."""
    return _TEXT.format(name=name, command=" ".join(_quoted(word) for word in words))


def _quoted(word: str) -> str:
    """As systemd reads words: quotes, `%` and `$` mean something to it."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if escaped != word or " " in word else word


def name_of(root: Path, default: Path) -> str:
    """One unit for each root: many hosts can live on one machine."""
    if root == default:
        return "backfleet-host.service"
    return f"backfleet-host-{''.join(map(_escaped, os.fsencode(root).strip(b'/')))}.service"


def _escaped(byte: int) -> str:
    """As `systemd-escape --path` does: a unit's name may hold few characters. Source: systemd.unit(5)."""
    if byte == ord("/"):
        return "-"
    return chr(byte) if chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in "_.:") else f"\\x{byte:02x}"


def keep_running(name: str, root: Path, *, allow_shell: bool, units: Path = UNITS) -> None:
    """Have systemd run the agent of this root now and after every start. Said again it changes nothing.

    Raises:
        CannotServe: there is no systemd, it refuses, or we may not write its units.
        NotEnrolled: this root belongs to no server.
    """
    read_identity(Places(root))
    _check_systemd()
    words = [*_program(), "run", "--root", str(root), *(["--allow-shell"] if allow_shell else [])]
    try:
        write_whole(units / name, text_of(name, words).encode(), mode=0o644)
    except OSError as problem:
        raise CannotServe(f"{units / name} cannot be written: {problem.strerror}; run as root") from None
    _ask("daemon-reload")
    _ask("enable", name)
    _ask("restart", name)


def run_no_more(name: str, units: Path = UNITS) -> None:
    """Stop the agent and forget its unit. What it has installed stays.

    Raises:
        CannotServe: there is no such unit, no systemd, or it refuses.
    """
    _check_systemd()
    if not (units / name).exists():
        raise CannotServe(f"there is no unit {units / name}")
    _ask("disable", "--now", name)
    (units / name).unlink()
    _ask("daemon-reload")


def _check_systemd() -> None:
    if not SYSTEMD.is_dir():
        raise CannotServe("this host has no systemd; have what starts its services run `backfleet-host run`")
    if os.geteuid() != 0:
        raise CannotServe("only root may make a unit; run it as root")


def _program() -> List[str]:
    """What this is run by: a Python with the archive or the module, or one executable."""
    if getattr(sys, "frozen", False):
        return [sys.executable]
    started = Path(sys.argv[0]).resolve()
    if started.name == "__main__.py":
        return [sys.executable, "-m", "backfleet_host"]
    return [sys.executable, str(started)]


def _ask(*words: str) -> None:
    try:
        done = subprocess.run(
            [shutil.which("systemctl") or "systemctl", *words],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as problem:
        raise CannotServe(f"systemctl {words[0]}: {problem}") from None
    if done.returncode != 0:
        raise CannotServe(f"systemctl {' '.join(words)}: {done.stderr.strip() or done.returncode}")
