"""A success means that the users' command runs: the shim itself, from its folder, as each user of the client."""

import json
import os
import pwd
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.upgrader import Installation
from mounts import bound, mounted

Host = Any
Shop = Any

PROJECT = Path(__file__).resolve().parents[4]
CARRY_OUT = PROJECT / "tests" / "host" / "upgrader" / "carry_out_order.py"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")

# Its words go to the program's folder, so that a test sees who ran it.
CLIENT = """#!/bin/sh
case "$1" in
  version) WORDS; echo "{package} {version}"; exit {health} ;;
  *) echo "{version} $*" ;;
esac
"""


@pytest.fixture
def public(shop: Shop, host: Host, public_folder: Path) -> Host:
    """Return a host whose folders every user may enter."""
    host.root = public_folder / "root"
    host.installation = Installation(host.root, host.root / "bin", shop.address, None, shop.trust_root)
    return host


def client(words: str = ":") -> str:
    return CLIENT.replace("WORDS", words)


def printed_as(user: str, *words: object) -> str:
    return subprocess.run(
        list(map(str, words)), user=user, group=pwd.getpwnam(user).pw_gid, extra_groups=[], cwd="/",
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


def is_quarantined(host: Host, version: str) -> bool:
    return bool((host.folder / "failed" / version / "reason.json").exists())


# --- Who runs it ----------------------------------------------------------------------------------------------------


@as_root
def test_root_and_a_user_without_rights_run_the_new_shim_before_the_gate_opens(shop: Shop, public: Host) -> None:
    """Before the switch, too; and as cron runs it."""
    seen = public.root.parent / "seen"
    seen.touch()
    seen.chmod(0o666)
    words = f'[ "$BACKFLEET_GATE_DESCRIPTOR" ] && closed=closed; echo "{{version}} $(id -un) $LANG $closed" >>{seen}'
    shop.add("1.0", client=client())
    shop.add("2.0", client=client(words))
    assert public.carry("install", "1.0").outcome == "succeeded"
    report = public.carry("upgrade", "2.0")
    assert (report.outcome, report.message) == ("succeeded", "")
    assert seen.read_text().splitlines() == ["2.0 root C.UTF-8 closed", "2.0 root C closed", "2.0 nobody C closed"]


@as_root
@pytest.mark.parametrize("file", ["host", "courier"])
def test_the_users_of_the_host_policy_run_it_instead(shop: Shop, public: Host, file: str) -> None:
    shop.add(
        "1.0",
        client=client(
            '[ "$(id -un)" != daemon ] || { echo "daemon may not"; exit 4; }'.replace("{", "{{").replace("}", "}}")
        ),
    )
    public.write_policy('users = ["daemon"]\n', file)
    report = public.carry("install", "1.0")
    assert (report.code, report.current_version, report.details["reason"]) == ("RolledBack", "", "ShimFails")
    assert f"{public.shim} does not run for daemon" in report.message
    assert "daemon may not" in report.message
    assert not is_quarantined(public, "1.0")
    public.write_policy('users = ["root"]\n', file)
    assert public.carry("install", "1.0", order_id="u-again").outcome == "succeeded"


@as_root
def test_a_user_that_does_not_exist_is_refused(shop: Shop, public: Host) -> None:
    shop.add("1.0")
    public.write_policy('users = ["nobody-at-all"]\n', "host")
    report = public.carry("install", "1.0")
    assert (report.code, report.stage) == ("InternalError", "check")
    assert "user does not exist on this host" in report.message


@as_root
def test_a_version_that_only_its_owner_may_run_is_rolled_back(shop: Shop, public: Host) -> None:
    """The health command is run by root, and succeeds."""
    shop.add("1.0")
    shop.add("2.0", mode=0o700)
    public.carry("install", "1.0")
    report = public.carry("upgrade", "2.0")
    assert (report.code, report.current_version, report.details["reason"]) == ("RolledBack", "1.0", "ShimFails")
    assert f"{public.shim} does not run for nobody" in report.message
    assert "versions/2.0/bin/courier: Permission denied" in report.message
    assert is_quarantined(public, "2.0")  # it ran for him before
    assert printed_as("nobody", public.shim, "x") == "1.0 x\n"


@as_root
def test_other_commands_of_a_release_can_be_run_too(shop: Shop, public: Host) -> None:
    """What they do is not known, and so they are not run."""
    shop.add("1.0", commands=("courier", "courier-restore"))
    public.carry("install", "1.0")
    (public.folder / "versions" / "1.0" / "bin" / "courier-restore").chmod(0o700)
    report = public.carry("upgrade", "1.0")
    assert report.code == "AlreadyCurrent"
    shop.add("2.0", commands=("courier", "courier-restore"))
    report = public.carry("upgrade", "2.0")
    assert report.outcome == "succeeded"
    assert "courier-restore does not run for nobody" in report.details["shims_failing"]["nobody"]


@as_root
def test_a_user_for_whom_it_never_ran_is_noted_and_no_reason_to_roll_back(shop: Shop, public: Host) -> None:
    """As with restic's way to back up without root: only a group may run it."""
    shop.add("1.0")
    shop.add("2.0")
    public.carry("install", "1.0")
    (public.folder / "versions" / "1.0" / "bin" / "courier").chmod(0o750)
    report = public.carry("upgrade", "2.0")
    assert (report.outcome, report.current_version) == ("succeeded", "2.0")
    assert "does not run for nobody" in report.details["shims_failing"]["nobody"]


@as_root
def test_where_the_root_is_closed_to_others_only_those_are_asked_who_are_named(shop: Shop, host: Host) -> None:
    """Who put it there wants no others."""
    shop.add("1.0")
    assert host.carry("install", "1.0").outcome == "succeeded"
    host.write_policy('users = ["nobody"]\n')
    shop.add("2.0")
    assert "nobody" in host.carry("upgrade", "2.0").details["shims_failing"]


@as_root
def test_a_health_command_that_needs_rights_is_no_reason_against_an_install(shop: Shop, public: Host) -> None:
    """What the client itself needs is not known where no version was before."""
    needs = '[ "$(id -u)" = 0 ] || exit 3'
    shop.add("1.0", client=client(needs))
    shop.add("2.0", client=client(needs))
    assert public.carry("install", "1.0").outcome == "succeeded"
    assert public.carry("upgrade", "2.0").outcome == "succeeded"


# --- Umask, mounts, names, limits -----------------------------------------------------------------------------------


@as_root
@pytest.mark.parametrize("umask", [0o027, 0o077], ids=oct)
def test_a_success_under_a_narrow_umask_is_one_for_every_user(shop: Shop, public: Host, umask: int) -> None:
    shop.add("1.0")
    shop.add("2.0")
    before = os.umask(umask)
    try:
        assert public.carry("install", "1.0").outcome == "succeeded"
        assert public.carry("upgrade", "2.0").outcome == "succeeded"
    finally:
        os.umask(before)
    assert printed_as("nobody", public.shim, "x") == "2.0 x\n"


@as_root
def test_a_folder_that_others_cannot_enter_is_found_before_the_gate_opens(shop: Shop, public: Host) -> None:
    """One that is not ours to open, with a user whom the policy names."""
    shop.add("1.0")
    public.write_policy('users = ["nobody"]\n', "host")
    public.root.parent.chmod(0o750)
    report = public.carry("install", "1.0")
    assert (report.code, report.current_version) == ("RolledBack", "")
    assert f"{public.shim} does not run for nobody" in report.message
    assert "Permission denied" in report.message
    assert not is_quarantined(public, "1.0")
    assert not public.shim.exists()


@as_root
@pytest.mark.parametrize("where", ["shims", "root"])
def test_a_mount_without_programs_is_refused_before_anything_is_touched(shop: Shop, public: Host, where: str) -> None:
    shop.add("1.0")
    folder = public.root / "bin" if where == "shims" else public.root
    with mounted(folder, "noexec,mode=755"):
        report = public.carry("install", "1.0")
        assert (report.code, report.stage, report.details["reason"]) == ("UnsupportedPlatform", "check", "NoExec")
        assert str(folder) in report.message
        assert "noexec" in report.message
        assert not is_quarantined(public, "1.0")


@as_root
def test_a_root_that_was_mounted_anew_without_programs_keeps_its_version(shop: Shop, public: Host) -> None:
    """And the new one is not quarantined: it can be installed as soon as the mount is right."""
    shop.add("1.0")
    shop.add("2.0")
    public.carry("install", "1.0")
    with bound(public.root, "noexec"):
        report = public.carry("upgrade", "2.0")
        assert (report.code, report.current_version) == ("UnsupportedPlatform", "1.0")
    assert public.carry("upgrade", "2.0", order_id="u-again").outcome == "succeeded"


@as_root
@pytest.mark.parametrize(
    "name", ["Rück-Sicherung".encode(), b"R\xfcck", "备份".encode()], ids=["UTF-8", "Latin-1", "Chinese"]
)
@pytest.mark.parametrize("language", ["C", "C.UTF-8", "POSIX"])
def test_a_root_may_have_any_name_in_any_locale(shop: Shop, public: Host, name: bytes, language: str) -> None:
    """The agent may have another locale than the users."""
    shop.add("1.0", commands=("courier", "courier-restore"))
    shop.add("2.0", commands=("courier", "courier-restore"))
    root = os.path.join(os.fsencode(public.root.parent), name)
    for kind, version in (("install", "1.0"), ("upgrade", "2.0")):
        report = carried_out(shop, public, root, kind, version, {"LC_ALL": language})
        assert (report["outcome"], report["current_version"]) == ("succeeded", version), report
    assert printed_as("nobody", os.fsdecode(root + b"/bin/courier"), "x") == "2.0 x\n"


def carried_out(
    shop: Shop, host: Host, root: bytes, kind: str, version: str, environment: dict[str, str], limits: str = ""
) -> dict[str, Any]:
    """Carry an order out in a process of its own; return its report."""
    trust_root = host.root.parent / "root.json"
    trust_root.write_bytes(shop.trust_root)
    raw = {"root": os.fsdecode(root), "downloads": shop.address, "system": "", "trust_root": str(trust_root)}
    order = host.order(kind, version, f"u-{kind}-{os.urandom(4).hex()}").to_json()
    words = [sys.executable, str(CARRY_OUT), json.dumps(raw), json.dumps(order)]
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT / "src"), **environment}
    shell = ["/bin/sh", "-c", f'{limits or ":"}; exec "$@"', "sh"]
    done = subprocess.run([*shell, *words], env=given, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])["report"]
    return found


# A client that cannot begin with little address space, as Go programs cannot. What it prints has numbers in it.
GREEDY = f"""#!{sys.executable}
import mmap, sys
VERSION = "{{version}}"
try:
    space = mmap.mmap(-1, SIZE << 20)
except OSError:
    sys.exit(f"fatal error: failed to reserve memory at {{{{id(VERSION):#x}}}}")
print("{{package}}", VERSION)
sys.exit({{health}})
"""


def test_a_version_that_fails_as_the_one_before_is_not_quarantined(shop: Shop, host: Host) -> None:
    """Under a limit of the agent's own, which both exceed."""
    greedy = GREEDY.replace("SIZE", "3000")
    shop.add("1.0", client=greedy)
    shop.add("2.0", client=greedy)
    assert host.carry("install", "1.0").outcome == "succeeded"
    report = carried_out(shop, host, os.fsencode(host.root), "upgrade", "2.0", {}, "ulimit -v 1500000")
    assert (report["code"], report["current_version"]) == ("RolledBack", "1.0")
    assert report["details"]["reason"] == "FailedBefore"
    assert "1.0 had failed in the same way before the switch" in report["message"]
    assert not is_quarantined(host, "2.0")
    assert host.carry("upgrade", "2.0").outcome == "succeeded"


@pytest.mark.parametrize("kind", ["install", "upgrade"])
def test_a_version_that_fails_under_a_limit_of_the_agent_is_not_quarantined(shop: Shop, host: Host, kind: str) -> None:
    """Where no version was before, or a smaller one."""
    shop.add("1.0", client=GREEDY.replace("SIZE", "1"))
    shop.add("2.0", client=GREEDY.replace("SIZE", "3000"))
    if kind == "upgrade":
        assert host.carry("install", "1.0").outcome == "succeeded"
    report = carried_out(shop, host, os.fsencode(host.root), kind, "2.0", {}, "ulimit -v 1500000")
    assert report["code"] == "RolledBack"
    assert "`ulimit -v`" in report["message"]
    assert not is_quarantined(host, "2.0")
    assert host.carry(kind, "2.0", order_id="u-again").outcome == "succeeded"


def test_a_version_whose_command_is_killed_from_outside_is_not_quarantined(shop: Shop, host: Host) -> None:
    """As by a kernel that is short of memory."""
    shop.add("1.0")
    shop.add("2.0", client=client("kill -9 $$"))
    host.carry("install", "1.0")
    report = host.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("RolledBack", "1.0")
    assert "signal 9" in report.message
    assert not is_quarantined(host, "2.0")


def test_another_failure_than_before_is_the_versions_own(shop: Shop, host: Host, tmp_path: Path) -> None:
    aged = tmp_path / "aged"
    shop.add("1.0", client=client(f'[ ! -e {aged} ] || exec sh -c "echo too old; exit 7"'))
    shop.add("2.0", client=client("echo broken; exit 7"))
    host.carry("install", "1.0")
    aged.touch()
    report = host.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("RolledBack", "1.0")
    assert "too old" not in report.message
    assert is_quarantined(host, "2.0")


def test_the_limits_of_these_tests_are_those_of_users() -> None:
    """Otherwise nothing would be quarantined here."""
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY
