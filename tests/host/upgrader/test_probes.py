"""The host's own proof, from /etc/backfleet/<package>.toml: asked of the old version and of the new one."""

import os
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


def test_f20_a_sample_that_comes_back_lets_the_new_version_stay(shop: Shop, host: Host, tmp_path: Path) -> None:
    """A verified read-back with the real client, not a process that is merely there."""
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
def test_a_sample_that_does_not_come_back_takes_the_new_version_back(
    shop: Shop, host: Host, tmp_path: Path, broken: str
) -> None:
    """F20: healthy by its own word, and its backups are unusable."""
    shop.add("1.0", client=copier())
    shop.add("2.0", client=copier(broken))
    host.write_policy(SAMPLE.format(repository=tmp_path / "repository").replace("seconds = 20", "seconds = 2"))
    host.carry("install", "1.0")
    report = host.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("RolledBack", "1.0")
    assert "'there and back'" in report.message


def test_f17_what_failed_before_is_not_the_new_versions_fault(shop: Shop, host: Host, tmp_path: Path) -> None:
    """The baseline is taken before the switch; the report says which probes were failing already."""
    for version in ("1.0", "2.0"):
        shop.add(version, client=copier())
    host.carry("install", "1.0")
    flap = '[[probe]]\nname = "flap"\ncommand = ["courier", "no-such"]\nexpect = "never said"\nseconds = 1\n'
    host.write_policy(flap + SAMPLE.format(repository=tmp_path / "repository"))
    report = host.carry("upgrade", "2.0")
    assert (report.outcome, report.current_version) == ("succeeded", "2.0")
    assert report.details["probes_failing_before"] == ["flap"]


def test_f13_f14_a_passing_cause_never_marks_a_version_bad(shop: Shop, host: Host, tmp_path: Path) -> None:
    """F14 too: exit code 75 says "not my fault": taken back, and tried again whenever asked."""
    for version in ("1.0", "2.0"):
        shop.add(version)
    host.carry("install", "1.0")
    busy = tmp_path / "busy"
    probe = f"if [ -e {busy} ] && [ $(readlink {host.folder}/current) = versions/2.0 ]; then exit 75; fi; echo fine"
    host.write_policy(f"""[[probe]]\nname = "network"\ncommand = ["/bin/sh", "-c", '{probe}']\nseconds = 1\n""")
    busy.touch()
    report = host.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("RolledBack", "1.0")
    busy.unlink()
    assert host.carry("upgrade", "2.0").current_version == "2.0"


def test_f16_silence_is_not_yet_an_answer(shop: Shop, host: Host, tmp_path: Path) -> None:
    """A slow host: asked again until the time is over."""
    slow = tmp_path / "slow"
    client = f"#!/bin/sh\nn=$(cat {slow} 2>/dev/null || echo 0); echo $((n+1)) > {slow}\n"
    client += '[ $n -lt 3 ] || echo "{package} {version}"\nexit {health}\n'
    shop.add("1.0", client=client)
    assert host.carry("install", "1.0").outcome == "succeeded"
    assert int(slow.read_text()) >= 4


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_a_probe_runs_as_its_user_with_its_environment_and_limits(shop: Shop, host: Host, tmp_path: Path) -> None:
    """And with nothing of ours."""
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
    ("text", "said"),
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
        pytest.param("probes = []", "unknown: probes", id="a word that is not known"),
        pytest.param("keeps = ['/']", "keeps", id="to keep everything"),
        pytest.param("= 1", "courier.toml", id="no TOML"),
    ],
)
def test_words_that_cannot_be_read_stop_the_upgrade(shop: Shop, host: Host, text: str, said: str) -> None:
    """A probe that is passed over in silence would be worse than none."""
    shop.add("1.0")
    host.write_policy(text)
    report = host.carry("install", "1.0")
    assert (report.outcome, report.code, host.version()) == ("failed", "InternalError", "")
    assert said in report.message


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
    """It goes to the server, and into its logs."""
    shop.add("1.0")
    host.write_policy(text)
    report = host.carry("install", "1.0")
    assert report.code == "InternalError"
    assert "hunter2" not in report.message


def test_words_that_others_may_write_are_not_read(shop: Shop, host: Host) -> None:
    """They run as root."""
    shop.add("1.0")
    host.write_policy("[[probe]]\ncommand = ['true']\n")
    (host.installation.etc / "courier.toml").chmod(0o666)
    assert "only root or we" in host.carry("install", "1.0").message


def test_f18_the_trial_uses_what_the_promoted_version_will_use(shop: Shop, host: Host, tmp_path: Path) -> None:
    """The health command runs from where the client will run, by the same link, with the same files."""
    where = tmp_path / "where"
    client = f'#!/bin/sh\necho "$0" >> {where}\necho "{{package}} {{version}}"\nexit {{health}}\n'
    shop.add("1.0", client=client)
    host.carry("install", "1.0")
    assert where.read_text() == f"{host.folder}/current/bin/courier\n"


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param('rm -r "$2"', id="it removes what it backs up"),
        pytest.param('for f in "$2" "$3"; do : > "$f/data.bin"; done', id="it empties both sides alike"),
    ],
)
def test_f20_a_version_that_damages_what_it_backs_up_is_taken_back(
    shop: Shop, host: Host, tmp_path: Path, damage: str
) -> None:
    """What comes back is compared with what was there before, not with what is left of it."""
    shop.add("1.0", client=copier())
    shop.add("2.0", client=copier().replace('cp -r "$2" "$3" ;;', f'cp -r "$2" "$3"; {damage} ;;'))
    assert host.carry("install", "1.0").outcome == "succeeded"
    host.write_policy(SAMPLE.format(repository=tmp_path / "repository"))
    report = host.carry("upgrade", "2.0")
    assert (report.code, report.current_version) == ("RolledBack", "1.0"), report.message


def test_a_probe_that_uses_the_shim_does_not_wait_for_its_own_proof(shop: Shop, host: Host, tmp_path: Path) -> None:
    """Its gate is the one that is closed for it. Everybody else's run waits."""
    shop.add("1.0")
    shop.add("2.0")
    host.carry("install", "1.0")
    asks = tmp_path / "asks"
    asks.write_text(f"#!/bin/sh\n{host.shim} which\n")
    asks.chmod(0o755)
    host.write_policy(f"[[probe]]\ncommand = ['{asks}']\nexpect = '0 which'\nseconds = 5\n")
    report = host.carry("upgrade", "2.0")
    assert (report.outcome, report.details) == ("succeeded", {}), report.message


def test_a_pattern_that_takes_for_ever_is_given_up(shop: Shop, host: Host) -> None:
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


def test_what_a_probe_says_without_end_is_not_kept(shop: Shop, host: Host) -> None:
    """Read and forgotten: neither the disk nor the memory fills, and the time limit holds."""
    shop.add("1.0")
    host.write_policy("[[probe]]\ncommand = ['yes', 'on and on']\nseconds = 1\n")
    report = host.carry("install", "1.0")
    assert report.code == "RolledBack"
    assert "yes did not end within 1 s" in report.message
    (evidence,) = host.folder.glob("failed/1.0/output")
    assert evidence.stat().st_size <= 70_000
    assert evidence.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands over to somebody else")
def test_a_sample_is_handed_over_from_the_inside_out(tmp_path: Path) -> None:
    """Until the folder itself is handed over nobody can put a link where a file of it was."""
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
