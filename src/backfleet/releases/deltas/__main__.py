"""Make one delta, in a process that may not take more memory than it is told, and ends with its parent."""

import ctypes
import hashlib
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, Final

from backfleet.releases.deltas.contents import base_of, result_of, unpack_to_the_same
from backfleet.releases.deltas.making import make_delta
from backfleet_host.deltas import apply_delta
from backfleet_host.manifest import Manifest

MOST_OF_ARTIFACT: Final = 0.6  # what is larger is not worth the host's work
OWN_MEGABYTES: Final = 600  # of addresses that this program has before it begins
PR_SET_PDEATHSIG: Final = 1  # of linux/prctl.h


def main() -> None:
    """Read what to make from the standard input, and write what was made to the standard output."""
    asked = json.load(sys.stdin)
    _limit(asked["megabytes"])
    try:
        made = _made(asked)
    except MemoryError:
        note = f"making it needs more than the {asked['megabytes']} MB of delta_megabytes"
        made = {"note": note, "retry_above": asked["megabytes"]}
    json.dump(made, sys.stdout)


def _limit(megabytes: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    most = megabytes + OWN_MEGABYTES << 20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    os.nice(19)
    Path("/proc/self/oom_score_adj").write_text("1000")  # if memory runs out, this process ends and no other


def _made(asked: dict[str, Any]) -> dict[str, Any]:
    (old, old_manifest), (new, manifest) = ((Path(path), Manifest.from_json(raw)) for path, raw in asked["artifacts"])
    folder, file = Path(asked["folder"]), Path(asked["file"])
    base, result = base_of(old, old_manifest), result_of(new, manifest)
    (folder / "base").write_bytes(base)
    (folder / "result").write_bytes(result)
    if not unpack_to_the_same(new, folder / "result", manifest):
        return {"note": "its uncompressed form would not unpack to the same files"}
    delta = make_delta(base, result)
    if len(delta) > asked["artifact_bytes"] * MOST_OF_ARTIFACT:
        return {"note": f"it would have {len(delta)} bytes, and the whole artifact has {asked['artifact_bytes']}"}
    file.write_bytes(delta)
    if not _makes(file, folder / "base", result):
        sys.exit("it does not make what it should; please report this")  # by a later version it may
    return {
        "sha256": hashlib.sha256(delta).hexdigest(),
        "size": len(delta),
        "base_sha256": hashlib.sha256(base).hexdigest(),
        "base_length": len(base),
        "result_sha256": hashlib.sha256(result).hexdigest(),
        "result_length": len(result),
    }


def _makes(file: Path, base: Path, result: bytes) -> bool:
    """Return whether a host makes the result of it."""
    digest = hashlib.sha256()
    apply_delta(file, base, (base.stat().st_size, len(result)), digest.update)
    return digest.digest() == hashlib.sha256(result).digest()


if __name__ == "__main__":
    main()
