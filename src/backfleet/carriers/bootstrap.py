"""An order for a host whose agent is not ours: a shell command that brings our host program and hands it the order.

The command trusts nothing but itself: it holds the server's authority and the hash of the program. It finds a Python
that fits, fetches the program once, and leaves the rest to `backfleet-host bring`, which carries the order out apart
from the agent and answers a repeated order from its journal.
"""

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from backfleet_host.contract import Order, Report

PYTHONS: Final = "python3 " + " ".join(f"python3.{minor}" for minor in range(15, 9, -1))
LEAST_PYTHON: Final = (3, 10)

# Little is printed: an agent that has to report much ends itself. Dash is enough.
_SHELL: Final = """#!/bin/sh
# Backfleet order {order_id}. Safe to repeat: an order that was carried out is answered from the host's journal.
for python in {pythons}; do
  if "$python" -c 'import ssl, sys; sys.exit(sys.version_info < {least})' >/dev/null 2>&1; then
    exec "$python" - <<'BACKFLEET'
{program}
BACKFLEET
  fi
done
printf '%s\\n' '{no_python}'
exit 1
"""

_PYTHON: Final = """\
import hashlib, os, ssl, sys, urllib.request
ROOT, SERVER, SHA256 = {root!r}, os.environ.get("ALIYUN_ASSIST_SERVER_HOST") or {server!r}, {sha256!r}
CA, ORDER = {ca!r}, {order!r}
FAILED = {{"DownloadFailed": {no_download!r}, "UntrustedRelease": {not_ours!r}, "UnsupportedPlatform": {not_root!r}}}
def end(code):
    print(FAILED[code]); sys.exit(1)
def digest(path):
    try:
        with open(path, "rb") as file: return hashlib.sha256(file.read()).hexdigest()
    except OSError: return ""
folder = os.path.join(ROOT, "agent", "brought")
try: os.makedirs(folder, mode=0o700, exist_ok=True)
except OSError: end("UnsupportedPlatform")
program = os.path.join(folder, "backfleet-host-" + SHA256[:16] + ".pyz")
if digest(program) != SHA256:
    proxy = os.environ.get("BACKFLEET_PROXY")
    way = urllib.request.ProxyHandler({{"https": proxy}} if proxy else {{}})
    try:
        trust = urllib.request.HTTPSHandler(context=ssl.create_default_context(cadata=CA))
        opener = urllib.request.build_opener(way, trust)
        with opener.open("https://" + SERVER + "/downloads/backfleet-host.pyz", timeout=30) as answer:
            content = answer.read(64 << 20)
    except Exception: end("DownloadFailed")
    if hashlib.sha256(content).hexdigest() != SHA256: end("UntrustedRelease")
    partial = program + "." + str(os.getpid())
    with open(partial, "wb") as file: file.write(content); file.flush(); os.fsync(file.fileno())
    os.replace(partial, program)
authority = os.path.join(folder, "ca.pem")
with open(authority + ".new", "w") as file: file.write(CA)
os.replace(authority + ".new", authority)
sys.stdout.flush()
os.execv(sys.executable, [sys.executable, program, "bring", ROOT, SERVER, authority, ORDER])"""


MOST_ASKED: Final = 5  # times that a host whose outcome is lost is asked again


def reference_of(item_id: str, again: int = 0) -> str:
    """The name of an item's command; each time that it is asked again has its own."""
    return f"{item_id}+{again}" if again else item_id


def read_reference(reference: str) -> tuple[str, int]:
    """The item's id, and the how manieth asking again it is (0 is the first command)."""
    item_id, _, again = reference.partition("+")
    return item_id, int(again or 0)


def references_of(item_ids: Iterable[str]) -> list[str]:
    """Every name that commands of these items may have."""
    return [reference_of(item_id, again) for item_id in item_ids for again in range(MOST_ASKED + 1)]


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What the command holds of this server."""

    address: str  # HOST:PORT, where the agent does not know it itself
    authority: str  # PEM
    program_sha256: str  # hex; "" if this server has no host program
    root: str = "/opt/backfleet"


def command_for(order: Order, bringing: Bootstrap) -> str:
    """The order as a shell command."""

    def failed(code: str, message: str, reason: str = "") -> str:
        details = {"reason": reason} if reason else {}
        failure = Report(order.order_id, order.kind, order.package, "failed", code, message, "admit", details=details)
        return failure.as_line()

    least = ".".join(map(str, LEAST_PYTHON))
    program = _PYTHON.format(
        root=bringing.root,
        server=bringing.address,
        sha256=bringing.program_sha256,
        ca=bringing.authority,
        order=base64.b64encode(order.as_command().encode()).decode(),
        no_download=failed("DownloadFailed", "the host program could not be fetched from the server", "NotReachable"),
        not_ours=failed("UntrustedRelease", "the server offers a host program of another hash", "WrongBytes"),
        not_root=failed("UnsupportedPlatform", f"{bringing.root} cannot be written; the agent must run as root"),
    )
    no_python = failed("UnsupportedPlatform", f"no Python {least} or newer with ssl was found; install python3")
    return _SHELL.format(
        order_id=order.order_id,
        pythons=PYTHONS,
        least=json.dumps(LEAST_PYTHON).replace("[", "(").replace("]", ")"),
        program=program,
        no_python=no_python,
    )
