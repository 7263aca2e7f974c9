"""What a host is, asked by a constant text that it runs."""

import re
from typing import Final

from backfleet_host.platforms import architecture_of
from backfleet_host.texts import printable

FACTS: Final = (
    "uname -s; uname -m; hostname; "
    '(. /etc/os-release && echo "$PRETTY_NAME") 2>/dev/null || echo; '
    "cat /etc/machine-id 2>/dev/null || echo; id -u; date +%s"
)
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,31}")  # of a system or a kind of processor
_NUMBER: Final = re.compile(r"[0-9]{1,12}")


def read_facts(output: str) -> dict[str, str]:
    """Return the facts that a host printed. Raises ValueError where it printed something else."""
    lines = [printable(line.strip())[:255] for line in output.splitlines()]
    is_whole = len(lines) == 7 and all(map(_NAME.fullmatch, lines[:2])) and all(map(_NUMBER.fullmatch, lines[5:]))
    if not is_whole:
        raise ValueError(f"it answers a question about itself with {printable(output[:100])!r}")
    system, machine, hostname, name, machine_id, uid, seconds = lines
    return {
        "platform": f"{system.lower()}-{architecture_of(machine)}",
        "os_type": system.lower(),
        "os_version": name or f"{system} {machine}",
        "hostname": hostname,
        "machine_id": machine_id[:64],
        "uid": uid,
        "seconds": seconds,
    }
