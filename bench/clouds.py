"""Hosts of a cloud: 200 of them are installed and upgraded through a cloud that fails in every way.

    .venv/bin/python bench/clouds.py [--hosts 200] [--real 3] [--kills 1] [--seed 16]

Another Backfleet is the cloud; the official SDK asks it, through a proxy that throttles, answers 503, cuts, delays,
doubles, reorders and loses answers, a third of all calls. Both servers are killed (SIGKILL) while orders are under way.
Most agents are simulated: their protocol is real, what the command does on the host is not; `--real` of them are real
agents of root. The exit code is 1 if an order did not succeed, or a host carried one out twice.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT / "src"), str(PROJECT / "tests")]

from journeys.many_cloud_hosts import Figures, run  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--hosts", type=int, default=200)
    parser.add_argument("--real", type=int, default=3, help="of them with real agents; these need root")
    parser.add_argument("--kills", type=int, default=1, help="of each server, in the installation and in the upgrade")
    parser.add_argument("--seed", type=int, default=16)
    asked = parser.parse_args()
    if asked.hosts <= asked.real or asked.real < 0:
        parser.error("--hosts must be more than --real: most of them are simulated")
    with tempfile.TemporaryDirectory(prefix="backfleet-bench-") as folder:
        found = run(
            Path(folder), simulated=asked.hosts - asked.real, real=asked.real, kills=asked.kills, seed=asked.seed
        )
    load = f"{os.getloadavg()[0]:.0f}"
    print(json.dumps({**vars(found), "errors": found.errors[:5], "load": load}, indent=1))
    return 0 if is_right(found) else 1


def is_right(found: Figures) -> bool:
    """Return whether every host ended right, and nothing happened twice."""
    done = found.outcomes == {"1.0 1.0": found.hosts, "2.0 2.0": found.hosts}
    return done and not found.twice and not found.errors and 0 < found.invocations <= found.batches


if __name__ == "__main__":
    sys.exit(main())
