"""Carries one order out as a process of its own, wherever it is started: `carrying.py SITE ORDER`, both JSON."""

import json
import sys
from pathlib import Path

from backfleet_host.contract import Order
from backfleet_host.upgrader import Installation, carry_out_on

said = json.loads(sys.argv[1])
root = Path(said["root"])
system = Path(said["system"]) if said["system"] else None
installation = Installation(
    root, root / "bin", said["downloads"], None, Path(said["trust_root"]).read_bytes(), system=system
)
print(carry_out_on(installation, Order(**json.loads(sys.argv[2])), print).as_line())
