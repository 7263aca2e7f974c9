"""An order as a shell command, for hosts whose agent is not ours.

The command brings our host program along and hands it the order. It trusts nothing but itself: it holds the server's
authority and the hash of the program. It finds a Python that is new enough, fetches the program once, and leaves the
rest to `backfleet-host bring`, which carries the order out apart from the agent and answers a repeated order from its
journal.

A program that is new on a host is checked there first (`bring --check`). If that fails, or if it crashed in the middle
of an order there, the order goes to the program that was used before, which is still there, and the command's output
says so (0105, 0130).
"""

import base64
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from backfleet.values import value_object
from backfleet_host.contract import Order, Report, stage_line
from backfleet_host.download_paths import DOWNLOADS, HOST_PROGRAM
from backfleet_host.layout import DEFAULT_ROOT, Places

PYTHONS: Final = "python3 " + " ".join(f"python3.{minor}" for minor in range(15, 9, -1))
LEAST_PYTHON: Final = (3, 10)

# It prints little, for an agent that has to report much ends itself, and needs no more of a shell than dash.
_HEAD: Final = """#!/bin/sh
# Backfleet order {order_id}. Safe to repeat: an order that was carried out is answered from the host's journal.
set -- '{order_id}' '{label}'
"""
_HEAD_OF_MANY: Final = """#!/bin/sh
# One Backfleet order for {count} hosts, each with an id of its own. Safe to repeat, as one for a single host.
case '{{{{ACS::InstanceId}}}}' in
{cases}
*) echo 'this order is for other instances'; exit 1 ;;
esac
"""
_ONE_HEAD: Final = re.compile(
    r"#!/bin/sh\n# Backfleet order ([A-Za-z0-9-]{1,64})\.[^\n]*\nset -- '\1' '([A-Za-z0-9./:+_-]*)'\n"
)
_THIS_ORDER: Final = "THE-ID-OF-THIS-ORDER"  # stands for the id, which the head sets

_SHELL: Final = """for python in {pythons}; do
  if "$python" -c 'import ssl, sys; sys.exit(sys.version_info < {least})' >/dev/null 2>&1; then
    exec "$python" - "$@" <<'BACKFLEET'
{program}
BACKFLEET
  fi
done
printf '{no_python}\\n' "$1"
exit 1
"""

_PYTHON: Final = """\
import base64, errno, fcntl, hashlib, os, random, signal, ssl, sys, time, urllib.error, urllib.request, zlib
ROOT, SERVER, SHA256 = {root!r}, {server}, {sha256!r}
CA, ORDER, BEGAN = {ca!r}, {order!r}, time.monotonic()
ID, LABEL = sys.argv[1:]
ORDER = base64.b64encode(base64.b64decode(ORDER).replace({this_order!r}.encode(), ID.encode())).decode()
FAILED = {{"DownloadFailed": {no_download!r}, "UntrustedRelease": {not_ours!r}, "UnsupportedPlatform": {not_root!r},
  "DiskFull": {disk_full!r}, "HostBusy": {read_only!r}}}
def end(code):
    print(FAILED[code].replace({this_order!r}, ID)); sys.exit(1)
def disk(problem):
    codes = {{errno.ENOSPC: "DiskFull", errno.EDQUOT: "DiskFull", errno.EROFS: "HostBusy"}}
    end(codes.get(problem.errno, "UnsupportedPlatform"))
def digest(path):
    try:
        with open(path, "rb") as file: return hashlib.sha256(file.read()).hexdigest()
    except OSError: return ""
def fetch(opener):
    while True:
        try:
            with opener.open("https://" + SERVER + {program_path!r}, timeout=30) as answer:
                return answer.read(64 << 20)
        except Exception as problem:
            why = getattr(problem, "reason", problem)
            stays = isinstance(why, ssl.SSLCertVerificationError) or 400 <= getattr(problem, "code", 0) < 408
            pause = random.uniform(1, 15)
            if stays or "407" in str(why) or time.monotonic() + pause - BEGAN > {seconds}: end("DownloadFailed")
        print({stage!r}, flush=True); time.sleep(pause)
{mirrored}folder = {folder!r}
os.umask(0o022)
try:
    os.makedirs(folder, mode=0o700, exist_ok=True)
    for place in os.path.dirname(folder), folder:
        os.chmod(place, 0o700)
        if os.lstat(place).st_uid != os.geteuid(): raise OSError
except OSError as problem: disk(problem)
program = os.path.join(folder, "backfleet-host-" + SHA256[:16] + ".pyz")
if digest(program) != SHA256:
    proxy = os.environ.get("BACKFLEET_PROXY")
    way = urllib.request.ProxyHandler({{"https": proxy}} if proxy else {{}})
    try:
        trust = urllib.request.HTTPSHandler(context=ssl.create_default_context(cadata=CA))
        opener = urllib.request.build_opener(way, trust)
    except Exception: end("DownloadFailed")
    content = {from_mirror}fetch(opener)
    if hashlib.sha256(content).hexdigest() != SHA256: end("UntrustedRelease")
    partial = program + "." + str(os.getpid())
    try:
        with open(partial, "wb") as file: file.write(content); file.flush(); os.fsync(file.fileno())
        os.replace(partial, program)
    except OSError as problem:
        if os.path.exists(partial): os.unlink(partial)
        disk(problem)
def put(name, content):
    path = os.path.join(folder, name)
    try:
        with open(path + ".new", "wb") as file: file.write(content)
        os.replace(path + ".new", path)
    except OSError as problem: disk(problem)
    return path
authority = put("ca.pem", CA.encode())
def fails():
    import subprocess
    asked = [sys.executable, program, "bring", "--check", ROOT, SERVER, authority, {mirror_named}]
    try:
        done = subprocess.run(asked, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
          timeout={check_seconds})
        said = done.stdout.decode(errors="replace").splitlines()
        return "" if done.returncode == 0 else ([line for line in said if line.strip()] or ["it said nothing"])[-1]
    except subprocess.TimeoutExpired: return "it did not end within {check_seconds} s"
    except OSError as problem: return str(problem)
{choosing}own = SHA256[:16]
judge()
why = crash_of(own)
if not why and not os.path.exists(os.path.join(folder, "proven-" + own)):
    why = fails()
    if not why: put("proven-" + own, b"")
used = why and before(own)
if used:
    import json
    program = used
    told = {{"wanted": own, "used": digits(used), "why": why[:200]}}
    print(json.dumps({{"instead": told}}), flush=True)
else: begin(own)
more = [LABEL, str(time.monotonic() - BEGAN)]
{more_of_mirror}sys.stdout.flush()
os.execv(sys.executable, [sys.executable, program, "bring", ROOT, SERVER, authority, ORDER, *more])"""

_CHOOSING: Final = """\
def boot():
    with open("/proc/sys/kernel/random/boot_id", "rb") as file: return file.read()
def begin(own):
    try:
        file = os.open(os.path.join(folder, "began-" + own + "-" + ID), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(file, boot()); os.set_inheritable(file, True)
    except OSError: pass
def judge():
    for name in [name for name in os.listdir(folder) if name[:6] == "began-"]:
        path = os.path.join(folder, name)
        try:
            with open(path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                starts = file.read().count(boot())
            if starts == 1 and not os.path.exists(os.path.join(folder, name[23:] + ".out")): continue
            if starts: put("crashed-" + name[6:22], name[23:].encode())
            os.unlink(path)
        except OSError: pass
def crash_of(own):
    try:
        path = os.path.join(folder, "crashed-" + own)
        if 0 <= time.time() - os.path.getmtime(path) < {crash_seconds}:
            with open(path) as file: return "it crashed in the middle of order " + file.read()
    except OSError: pass
    return ""
def digits(path): return path[-20:-4]
def before(own):
    names = [name for name in os.listdir(folder) if name[:15] == "backfleet-host-" and name[31:] == ".pyz"]
    paths = [os.path.join(folder, name) for name in names if name[15:31] != own]
    def worth(path):
        return os.path.exists(os.path.join(folder, "proven-" + digits(path))), os.path.getmtime(path)
    works = [path for path in paths if digest(path)[:16] == digits(path) and not crash_of(digits(path))]
    return max(works, key=worth, default="")
"""
"""Which program gets the order (0130). `began-` is locked while an order is carried out, and removed at its end.

It has the boot of each start. One that ended before it began its work may have been killed by its agent, so two count.
"""

_MIRRORED: Final = """\
MIRROR, MIRROR_CA, TRUST = {mirror!r}, {mirror_ca!r}, {trust!r}
class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *given): return None
def late(*given): raise TimeoutError
def mirrored(way):
    signal.signal(signal.SIGALRM, late); signal.alarm({seconds})
    try:
        trust = urllib.request.HTTPSHandler(context=ssl.create_default_context(cadata=MIRROR_CA or None))
        with urllib.request.build_opener(way, trust, Stay).open(MIRROR + {program!r}, timeout=10) as answer:
            content = answer.read(64 << 20)
        if hashlib.sha256(content).hexdigest() == SHA256: return content
    except Exception: pass
    finally: signal.alarm(0)
    return b""
"""
"""What asks a mirror. It has so many seconds in all, sends nobody elsewhere, and is believed by the hash alone."""

_MORE_OF_MIRROR: Final = """\
more += [MIRROR, MIRROR_CA and put("mirror.pem", MIRROR_CA.encode())]
more += [TRUST and put("root.json", zlib.decompress(base64.b64decode(TRUST)))]
"""
MIRROR_PART, LONGEST_MIRROR_SECONDS = 4, 60  # of an order's time, at most
CHECK_PART, LONGEST_CHECK_SECONDS = 4, 120  # of an order's time, for the first start of a program on a host
CRASH_SECONDS: Final = 86_400  # for which a program that crashed on a host gets no orders there, where another one can
LONGEST_TRUST: Final = 4096  # characters: a longer release root is fetched from the server


@value_object
class Bootstrap:
    """What the command contains of this server."""

    address: str  # HOST:PORT of the server, for agents that do not name it in the environment
    authority: str  # PEM
    program_sha256: str  # of the host program, in hex; "" if this server has none
    root: str = str(DEFAULT_ROOT)  # the folder on the host that belongs to the host program
    mirror: str = ""  # address with what is below the server's downloads, which is asked first; without a last slash
    mirror_authority: str = ""  # PEM; "" = what the system trusts
    release_root: bytes = b""  # the newest one, so that a host with a mirror need not reach the server
    follows_agent: bool = True  # the server that the agent comes to, where it names one, is this server


def command_for(order: Order, bootstrap: Bootstrap, label: str = "") -> str:
    """Return an order as a shell command that every POSIX shell runs.

    Args:
        label: `TOPIC/REFERENCE`, by which the host asks whether the order was withdrawn; "" = it does not ask.
    """

    of_any = replace(order, order_id=_THIS_ORDER)

    def failed(code: str, message: str, reason: str = "") -> str:
        details = {"reason": reason} if reason else {}
        ended = (_THIS_ORDER, order.kind, order.package, "failed", code, message, "admit")
        return Report(*ended, details=details, version_known=False).as_line()  # nobody looked what is installed

    least, address = ".".join(map(str, LEAST_PYTHON)), repr(bootstrap.address)
    program = _PYTHON.format(
        root=bootstrap.root,
        folder=str(Places(Path(bootstrap.root)).bootstrap),
        server=f'os.environ.get("ALIYUN_ASSIST_SERVER_HOST") or {address}' if bootstrap.follows_agent else address,
        sha256=bootstrap.program_sha256,
        ca=bootstrap.authority,
        this_order=_THIS_ORDER,
        seconds=order.timeout_seconds,
        stage=stage_line("admit"),
        check_seconds=max(5, min(LONGEST_CHECK_SECONDS, order.timeout_seconds // CHECK_PART)),
        choosing=_CHOOSING.format(crash_seconds=CRASH_SECONDS),
        program_path=DOWNLOADS + HOST_PROGRAM,
        order=base64.b64encode(of_any.as_command().encode()).decode(),
        no_download=failed("DownloadFailed", "the host program could not be fetched from the server", "NotReachable"),
        not_ours=failed("UntrustedRelease", "the server offers a host program of another hash", "WrongBytes"),
        disk_full=failed("DiskFull", f"no space is left on the disk of {bootstrap.root}; free some"),
        read_only=failed("HostBusy", f"the file system of {bootstrap.root} is read-only"),
        **_of_mirror(order, bootstrap),
        not_root=failed("UnsupportedPlatform", f"{bootstrap.root} cannot be written; the agent must run as root"),
    )
    no_python = failed("UnsupportedPlatform", f"no Python {least} or newer with ssl was found; install python3")
    return _HEAD.format(order_id=order.order_id, label=label) + _SHELL.format(
        pythons=PYTHONS,
        least=json.dumps(LEAST_PYTHON).replace("[", "(").replace("]", ")"),
        program=program,
        no_python=no_python.replace("%", "%%").replace("\\", "\\\\").replace(_THIS_ORDER, "%s"),
    )


def _of_mirror(order: Order, bootstrap: Bootstrap) -> dict[str, str]:
    if not bootstrap.mirror:
        return dict.fromkeys(("mirrored", "from_mirror", "more_of_mirror"), "") | {"mirror_named": '""'}
    trust = base64.b64encode(zlib.compress(bootstrap.release_root, 9)).decode() if bootstrap.release_root else ""
    part = _MIRRORED.format(
        mirror=bootstrap.mirror,
        mirror_ca=bootstrap.mirror_authority,
        trust=trust if len(trust) <= LONGEST_TRUST else "",
        seconds=max(1, min(LONGEST_MIRROR_SECONDS, order.timeout_seconds // MIRROR_PART)),
        program=HOST_PROGRAM,
    )
    words = {"mirrored": part, "from_mirror": "mirrored(way) or ", "more_of_mirror": _MORE_OF_MIRROR}
    return words | {"mirror_named": "MIRROR"}


def split_command(content: str) -> tuple[str, str, str] | None:
    """Return the order's id, the label and the rest of a command of ours, or None. Alike orders have the same rest."""
    head = _ONE_HEAD.match(content)
    return (head[1], head[2], content[head.end() :]) if head else None


def is_order(content: str) -> bool:
    """Return whether a command is an order of ours, for one host or several: its hosts run it once, however often."""
    return content.startswith(("#!/bin/sh\n# Backfleet order ", "#!/bin/sh\n# One Backfleet order for "))


def command_for_many(rest: str, orders: Mapping[str, tuple[str, str]]) -> str:
    """Return one command for several instances, each of which finds its own order in it by its id.

    The sender has to see to it that `{{ACS::InstanceId}}` is replaced.

    Args:
        rest: of every one of the commands.
        orders: the order's id and the label by the instance's id in the cloud.
    """
    cases = "\n".join(
        f"'{instance_id}') set -- '{order_id}' '{label}' ;;" for instance_id, (order_id, label) in orders.items()
    )
    return _HEAD_OF_MANY.format(count=len(orders), cases=cases) + rest
