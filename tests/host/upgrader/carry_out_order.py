"""Carry one order out in a process of its own: `carry_out_order.py INSTALLATION ORDER`, both JSON."""

import json
import sys
from pathlib import Path

from backfleet_host.contract import Order
from backfleet_host.upgrader import Installation, carry_out_on

raw = json.loads(sys.argv[1])
root = Path(raw["root"])
system = Path(raw["system"]) if raw["system"] else None
installation = Installation(
    root, root / "bin", raw["downloads"], None, Path(raw["trust_root"]).read_bytes(), system=system
)
print(carry_out_on(installation, Order.from_json(json.loads(sys.argv[2])), print).as_line())
