"""The upgrader: installs, upgrades and removes backup clients on a host. One order is one transaction.

It ends with the new version, verified, or with exactly what was there before. It owns the folders of packages under a
root (`host/installation.py` lists them), `trust/metadata` and `trust/seen.json` beside them, and its shims in the
folder for commands. It reads the host policy in /etc/backfleet.

- `carry_out` an order and report how it ended; `carry_out_on` does that on an `Installation` that is already known.
- `recover` what a crash left of one order, `recover_all` of every order under a root.
- `adopt` a client that is there already; `give_back` what was there before.
- `roll_back_late` a version that was kept and does not work any more.
- `mend_lost`: go back to the version that was verified last, where files of a package were lost.
- `status` of every package under a root.
- `mirror_at` returns an address that `carry_out` asks before the server.
- `installation_at` returns the `Installation` of an enrolled root.

All of them report instead of raising, except that a root is not enrolled (`NotEnrolled`).
"""

from __future__ import annotations

from backfleet_host.upgrader.adopting import adopt
from backfleet_host.upgrader.host.installation import Installation, installation_at
from backfleet_host.upgrader.late_rollback import roll_back_late
from backfleet_host.upgrader.leaving import give_back
from backfleet_host.upgrader.mending import mend_lost
from backfleet_host.upgrader.orders import carry_out, carry_out_on, recover, recover_all
from backfleet_host.upgrader.release.relays import mirror_at
from backfleet_host.upgrader.status import status

__all__ = [
    "Installation",
    "adopt",
    "carry_out",
    "carry_out_on",
    "give_back",
    "installation_at",
    "mend_lost",
    "mirror_at",
    "recover",
    "recover_all",
    "roll_back_late",
    "status",
]
