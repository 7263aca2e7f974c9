"""The host's own probes, from /etc/backfleet/<package>.toml: run on the old version and on the new one."""

import json
import os
import pwd
import subprocess
from pathlib import Path
from typing import Any

import pytest

from backfleet_host.upgrader.host import probes

Host = Any
Shop = Any

# A client that backs up: `backup FROM TO`, `restore FROM TO`. One that is broken restores something else.
COPIER = """#!/bin/sh
case "$1" in
  version) echo "{package} {version}"; exit {health} ;;
  backup) rm -rf "$3"; cp -r "$2" "$3" ;;
  restore) cp -r "$2/." "$3"; BROKEN ;;
  whoami) id -un; ulimit -n; echo "$COURIER_WORD" ;;
  *) echo "{version} $*" ;;
esac
"""
SAMPLE = """
[[sample]]
name = "there and back"
backup = ["courier", "backup", "{{sample}}", "{repository}"]
restore = ["courier", "restore", "{repository}", "{{restored}}"]
seconds = 20
"""


def copier(broken: str = ":") -> str:
    return COPIER.replace("BROKEN", broken)


def test_f20_a_version_that_restores_the_sample_stays(shop: Shop, host: Host, tmp_path: Path) -> None:
    """A verified restore with the real client, not only a process that runs."""
    for version in ("1.0", "2.0"):
        shop.add(version, client=copier())
    host.write_policy(SAMPLE.format(repository=tmp_path / "repository"))
    assert host.carry("install", "1.0").outcome == "succeeded"
    assert host.carry("upgrade", "2.0").current_version == "2.0"
    assert (tmp_path / "repository" / "data.bin").stat().st_size == 1_000_000


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param('echo more >> "$3/data.bin"', id="F20 restores something else"),
        pytest.param('rm "$3/notes/empty"', id="F20 restores less"),
        pytest.param("exit 5", id="F20 does not restore"),
        pytest.param("sleep 300", id="F10 does not end"),
    ],
)
def test_a_version_that_does_not_restore_the_sample_is_rolled_back(
    shop: Shop, host: Host, tmp_path: Path, broken: str
) -> None:
    """F20: its health command succeeds, and its backups are unusable."""
    shop.add("1.0", client=copier())
    shop.add("2.0", client=copier(broken))
    host.write_policy(SAMPLE.format(repository=tmp_path / "repository").replace("seconds = 20", "seconds = 2"))
    host.carry("install", "1.0")
    report = host.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("RolledBack", "1.0")
    assert "'there and back'" in report.message


def test_f17_a_probe_that_failed_before_is_not_held_against_the_new_version(
    shop: Shop, host: Host, tmp_path: Path
) -> None:
    """The baseline is taken before the switch; the report names the probes that failed then."""
    for version in ("1.0", "2.0"):
        shop.add(version, client=copier())
    host.carry("install", "1.0")
    flap = '[[probe]]\nname = "flap"\ncommand = ["courier", "no-such"]\nexpect = "never printed"\nseconds = 1\n'
    host.write_policy(flap + SAMPLE.format(repository=tmp_path / "repository"))
    report = host.carry("upgrade", "2.0")
    assert (report.outcome, report.current_version) == ("succeeded", "2.0")
    assert report.details["probes_failing_before"] == ["flap"]


# Exits with 75, "not my fault", on 2.0 while there is a file; counts how often.
BUSY = '''
[[probe]]
name = "network"
command = ["/bin/sh", "-c", """
  [ $(readlink {current}) = versions/1.0 ] || [ ! -e {busy} ] || {{ {then}; exit 75; }}
  echo fine
"""]
seconds = {seconds}
'''


def test_f13_a_server_that_is_busy_once_rolls_nothing_back(shop: Shop, host: Host, tmp_path: Path) -> None:
    """The probe is asked again, and then it decides."""
    for version in ("1.0", "2.0"):
        shop.add(version)
    host.carry("install", "1.0")
    busy = tmp_path / "busy"
    busy.touch()
    host.write_policy(BUSY.format(current=host.folder / "current", busy=busy, then=f"rm {busy}", seconds=10))
    report = host.carry("upgrade", "2.0")
    assert (report.outcome, report.current_version, report.details) == ("succeeded", "2.0", {})
    assert not busy.exists()  # it was busy once


def test_f13_a_server_that_stays_busy_rolls_nothing_back(shop: Shop, host: Host, tmp_path: Path) -> None:
    """The version is healthy by its own command, and the report names the probe that could not decide."""
    for version in ("1.0", "2.0"):
        shop.add(version)
    host.carry("install", "1.0")
    busy = tmp_path / "busy"
    busy.touch()
    host.write_policy(BUSY.format(current=host.folder / "current", busy=busy, then=":", seconds=1))
    report = host.carry("upgrade", "2.0")
    assert (report.outcome, report.code, report.current_version) == ("succeeded", "", "2.0")
    assert report.details == {"probes_undecided": ["network"]}
    assert "network" in report.message
    assert not (host.folder / "failed" / "2.0").exists()


def test_f13_a_probe_that_fails_rolls_back_beside_one_that_cannot_decide(
    shop: Shop, host: Host, tmp_path: Path
) -> None:
    """Only exit code 75 is no verdict."""
    for version in ("1.0", "2.0"):
        shop.add(version)
    host.carry("install", "1.0")
    busy = tmp_path / "busy"
    busy.touch()
    undecided = BUSY.format(current=host.folder / "current", busy=busy, then=":", seconds=1)
    fails = BUSY.format(current=host.folder / "current", busy=busy, then="exit 74", seconds=1).replace(
        "network", "disk"
    )
    host.write_policy(undecided + fails)
    report = host.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("RolledBack", "1.0")
    assert "'disk'" in report.message
    assert (host.folder / "failed" / "2.0" / "reason.json").exists()


def test_f14_a_network_that_comes_late_marks_no_version_bad(shop: Shop, host: Host, tmp_path: Path) -> None:
    """The version's own health command says that it is not its fault: the next order tries again, without a word."""
    late = tmp_path / "late"
    late.touch()
    client = f"#!/bin/sh\n[ {{version}} = 1.0 ] || [ ! -e {late} ] || exit 75\n"
    client += 'echo "{package} {version}"; exit {health}\n'
    for version in ("1.0", "2.0"):
        shop.add(version, client=client, seconds=1)
    host.carry("install", "1.0")
    report = host.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("RolledBack", "1.0")
    assert report.details["reason"] == "TemporaryFailure"
    assert not (host.folder / "failed" / "2.0" / "reason.json").exists()
    late.unlink()
    assert host.carry("upgrade", "2.0").current_version == "2.0"


def test_f16_silence_is_not_yet_an_answer(shop: Shop, host: Host, tmp_path: Path) -> None:
    """On a slow host a probe without output is tried again until its time is over."""
    slow = tmp_path / "slow"
    client = f"#!/bin/sh\nn=$(cat {slow} 2>/dev/null || echo 0); echo $((n+1)) > {slow}\n"
    client += '[ $n -lt 3 ] || echo "{package} {version}"\nexit {health}\n'
    shop.add("1.0", client=client)
    assert host.carry("install", "1.0").outcome == "succeeded"
    assert int(slow.read_text()) >= 4


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_a_probe_runs_as_its_user_with_its_environment_and_limits(shop: Shop, host: Host, tmp_path: Path) -> None:
    """And with nothing of our environment."""
    shop.add("1.0", client=copier())
    subprocess.run(["chmod", "a+rx", *[str(p) for p in [tmp_path, *tmp_path.parents][:4]]], check=True)
    host.write_policy("""
[[probe]]
name = "who"
command = ["courier", "whoami"]
user = "nobody"
expect = "(?s)nobody.64.well met"
environment = {COURIER_WORD = "well met"}
limits = {files = 64}
""")
    report = host.carry("install", "1.0")
    assert report.outcome == "succeeded", report.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("[[probe]]\nname = 1\ncommand = ['x']", "name must be text", id="a name that is none"),
        pytest.param("[[probe]]\nname = 'x'", "needs a command", id="no command"),
        pytest.param("[[probe]]\ncommand = 'ls'", "must be a list of texts", id="a command that is a string"),
        pytest.param("[probe]\ncommand = ['x']", "[[probe]]", id="one table instead of a list"),
        pytest.param("[[probe]]\ncommand = ['x']\nexpect = 'ok ('", "not a regular expression", id="a broken pattern"),
        pytest.param("[[probe]]\ncommand = ['x']\nuser = 'nobody-of-that-name'", "does not exist", id="no such user"),
        pytest.param("[[probe]]\ncommand = ['x']\nenvironment = {'A=B' = 'x'}", "environment", id="no variable's name"),
        pytest.param('[[probe]]\ncommand = ["x\\u0000"]', "NUL", id="a NUL in a command"),
        pytest.param("[[probe]]\ncommand = ['x']\nlimits = {love = 1}", "unknown: love", id="an unknown limit"),
        pytest.param("[[probe]]\ncommand = ['x']\nseconds = 0", "seconds", id="no time"),
        pytest.param("[[sample]]\nbackup = ['x']\nrestore = ['y']", "{sample}", id="a sample of nothing"),
        pytest.param("probes = []", "unknown: probes", id="an unknown key"),
        pytest.param("keeps = ['/']", "keeps", id="to keep everything"),
        pytest.param("= 1", "courier.toml", id="no TOML"),
    ],
)
def test_a_policy_that_cannot_be_read_stops_the_upgrade(shop: Shop, host: Host, text: str, expected: str) -> None:
    """A probe that is silently skipped would be worse than none."""
    shop.add("1.0")
    host.write_policy(text)
    report = host.carry("install", "1.0")
    assert (report.outcome, report.code, host.version()) == ("failed", "InternalError", "")
    assert expected in report.message


@pytest.mark.parametrize(
    "text",
    [
        "[probe]\ncommand = ['x']\nenvironment = {PASSWORD = 'hunter2'}",
        "[[probe]]\ncommand = 'x --password hunter2'",
        "[[probe]]\ncommand = ['x']\nenvironment = ['hunter2']",
        "[[probe]]\ncommand = ['x']\nuser = 'hunter2'",
    ],
)
def test_an_error_repeats_nothing_that_may_be_secret(shop: Shop, host: Host, text: str) -> None:
    """It is sent to the server, and written into logs."""
    shop.add("1.0")
    host.write_policy(text)
    report = host.carry("install", "1.0")
    assert report.code == "InternalError"
    assert "hunter2" not in report.message


def test_a_policy_that_others_may_write_is_refused(shop: Shop, host: Host) -> None:
    """Its commands run as root."""
    shop.add("1.0")
    host.write_policy("[[probe]]\ncommand = ['true']\n")
    (host.installation.etc / "courier.toml").chmod(0o666)
    assert "only root or we" in host.carry("install", "1.0").message


def rights_of(home_of: str) -> str:
    """Return what a client started by cron for this account sees: its home, user and groups, and the file mode mask."""
    account = pwd.getpwnam(home_of)
    groups = " ".join(map(str, sorted(os.getgrouplist(home_of, account.pw_gid))))
    return f"{account.pw_dir} {account.pw_uid} {account.pw_gid} {groups} 0022"


RIGHTS = "echo $HOME $(id -u) $(id -g) $(id -G | tr ' ' '\\n' | sort -n | tr '\\n' ' ') $(umask)"


def test_f18_the_trial_has_the_home_and_the_rights_of_the_promoted_client(
    shop: Shop, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Configuration is found in the account's home, whatever HOME the agent was started with."""
    seen = tmp_path / "seen"
    shop.add("1.0", client=f'#!/bin/sh\n{RIGHTS} >> {seen}\necho "{{package}} {{version}}"; exit {{health}}\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    assert host.carry("install", "1.0").outcome == "succeeded"
    monkeypatch.delenv("HOME")
    shop.add("2.0", client=f'#!/bin/sh\n{RIGHTS} >> {seen}\necho "{{package}} {{version}}"; exit {{health}}\n')
    assert host.carry("upgrade", "2.0").outcome == "succeeded"
    me = pwd.getpwuid(os.geteuid())
    expected = (
        f"{me.pw_dir} {me.pw_uid} {os.getegid()} {' '.join(map(str, sorted(os.getgroups() or [me.pw_gid])))} 0022"
    )
    assert set(seen.read_text().splitlines()) == {expected}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_f18_a_probe_has_the_home_and_the_rights_of_its_user(shop: Shop, host: Host, public_folder: Path) -> None:
    """Exactly those with which the user's own backups run."""
    host = type(host)(public_folder / "host", shop)
    client = f'#!/bin/sh\n[ "$1" = version ] || {{{{ {RIGHTS}; exit; }}}}\n'
    shop.add("1.0", client=client + 'echo "{package} {version}"; exit {health}\n')
    expected = rights_of("nobody")
    host.write_policy(f"[[probe]]\ncommand = ['courier', 'rights']\nuser = 'nobody'\nexpect = '^{expected}$'\n")
    report = host.carry("install", "1.0")
    assert report.outcome == "succeeded", report.message


def test_f18_a_configuration_that_the_new_version_cannot_read_is_found_in_the_trial(
    shop: Shop, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies in the home of the account, and the agent's own HOME is another one without any."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".courier").write_text("old format")
    account = pwd.getpwuid(os.geteuid())
    named = pwd.struct_passwd((*account[:5], str(home), account[6]))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: named)
    monkeypatch.setenv("HOME", str(tmp_path))
    client = (
        '#!/bin/sh\n[ {version} = 1.0 ] || [ ! -e ~/.courier ] || exit 5\necho "{package} {version}"; exit {health}\n'
    )
    for version in ("1.0", "2.0"):
        shop.add(version, client=client)
    host.carry("install", "1.0")
    report = host.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("RolledBack", "1.0")


def test_f18_the_health_command_runs_from_where_the_client_will_run(shop: Shop, host: Host, tmp_path: Path) -> None:
    """Through the same link, with the same files, and then by its shim."""
    where = tmp_path / "where"
    client = f'#!/bin/sh\necho "$0" >> {where}\necho "{{package}} {{version}}"\nexit {{health}}\n'
    shop.add("1.0", client=client)
    host.carry("install", "1.0")
    first, by_shim = where.read_text().splitlines()
    assert first == f"{host.folder}/current/bin/courier"
    assert by_shim == f"{host.folder}/versions/1.0/bin/courier"


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param('rm -r "$2"', id="it removes what it backs up"),
        pytest.param('for f in "$2" "$3"; do : > "$f/data.bin"; done', id="it empties both sides alike"),
    ],
)
def test_f20_a_version_that_damages_what_it_backs_up_is_rolled_back(
    shop: Shop, host: Host, tmp_path: Path, damage: str
) -> None:
    """What was restored is compared with the original, not with what is left of it."""
    shop.add("1.0", client=copier())
    shop.add("2.0", client=copier().replace('cp -r "$2" "$3" ;;', f'cp -r "$2" "$3"; {damage} ;;'))
    assert host.carry("install", "1.0").outcome == "succeeded"
    host.write_policy(SAMPLE.format(repository=tmp_path / "repository"))
    report = host.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("RolledBack", "1.0"), report.message


def test_a_probe_that_uses_the_shim_passes_the_closed_gate(shop: Shop, host: Host, tmp_path: Path) -> None:
    """Every other run waits."""
    shop.add("1.0")
    shop.add("2.0")
    host.carry("install", "1.0")
    asks = tmp_path / "asks"
    asks.write_text(f"#!/bin/sh\n{host.shim} which\n")
    asks.chmod(0o755)
    host.write_policy(f"[[probe]]\ncommand = ['{asks}']\nexpect = '0 which'\nseconds = 5\n")
    report = host.carry("upgrade", "2.0")
    assert (report.outcome, report.details) == ("succeeded", {}), report.message


def test_a_pattern_that_takes_for_ever_is_rolled_back(shop: Shop, host: Host) -> None:
    """Backups wait behind the gate meanwhile."""
    shop.add("1.0")
    host.write_policy(r"""[[probe]]
command = ["echo", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]
expect = '^(\w+\s?)+!$'
""")
    report = host.carry("install", "1.0")
    assert report.code == "RolledBack"
    assert "make the pattern simpler" in report.message
    assert report.seconds < 20


def test_endless_output_of_a_probe_is_dropped(shop: Shop, host: Host) -> None:
    """It fills neither disk nor memory, and the time limit holds."""
    shop.add("1.0")
    host.write_policy("[[probe]]\ncommand = ['yes', 'on and on']\nseconds = 1\n")
    report = host.carry("install", "1.0")
    assert report.code == "RolledBack"
    assert "yes did not end within 1 s" in report.message
    (evidence,) = host.folder.glob("failed/1.0/output")
    assert evidence.stat().st_size <= 70_000
    assert evidence.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands over to somebody else")
def test_a_sample_changes_its_owner_from_the_inside_out(tmp_path: Path) -> None:
    """Until the folder itself has, no other user can replace a file by a link."""
    sample = tmp_path / "folder" / "sample"
    sample.mkdir(parents=True)
    (sample / "link").symlink_to(tmp_path / "root's own")
    (tmp_path / "root's own").write_text("secret")
    handed: list[str] = []
    was, os.lchown = os.lchown, lambda path, *ids: handed.append(path)
    try:
        probes._give_to("nobody", tmp_path / "folder")
    finally:
        os.lchown = was
    assert handed[-1] == str(tmp_path / "folder")
    assert sorted(handed, key=len, reverse=True) == handed
    assert (tmp_path / "root's own").stat().st_uid == 0


NOISY = """#!/bin/sh
[ "$1" = version ] || exit 0
[ {version} = 1.0 ] || {{ echo "ImportError: first"; yes mid | head -n 9000; echo "Platform: last"; exit 3; }}
echo "{package} {version}"
"""


@pytest.mark.parametrize("middle", ["mid", "\\344\\270\\255"])
def test_a_report_has_the_first_and_the_last_lines_of_a_failed_health_command(
    shop: Shop, host: Host, middle: str
) -> None:
    """The error stands first, what came of it last; and the report still fits into the agent's output."""
    client = NOISY.replace("yes mid", f"yes $(printf '{middle}')")
    for version in ("1.0", "2.0"):
        shop.add(version, client=client)
    host.carry("install", "1.0")
    report = host.carry("upgrade", "2.0")
    printed = report.details["evidence"]["output"]
    assert printed.startswith("ImportError: first\n")
    assert len(json.dumps(printed)) <= 6000
    assert middle[0] == "m" or "\u4e2d" in printed
