"""The host's own proof, from /etc/backfleet/<package>.toml: asked of the old version and of the new one."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

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
    host.words(SAMPLE.format(repository=tmp_path / "repository"))
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
    host.words(SAMPLE.format(repository=tmp_path / "repository").replace("20", "2"))
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
    host.words(flap + SAMPLE.format(repository=tmp_path / "repository"))
    report = host.carry("upgrade", "2.0")
    assert (report.outcome, report.current_version) == ("succeeded", "2.0")
    assert report.details["probes_failing_before"] == ["flap"]


def test_f13_a_passing_cause_never_marks_a_version_bad(shop: Shop, host: Host, tmp_path: Path) -> None:
    """F14 too: exit code 75 says "not my fault": taken back, and tried again whenever asked."""
    for version in ("1.0", "2.0"):
        shop.add(version)
    host.carry("install", "1.0")
    busy = tmp_path / "busy"
    probe = f"if [ -e {busy} ] && [ $(readlink {host.folder}/current) = versions/2.0 ]; then exit 75; fi; echo fine"
    host.words(f"""[[probe]]\nname = "network"\ncommand = ["/bin/sh", "-c", '{probe}']\nseconds = 1\n""")
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
    host.words("""
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
        pytest.param("[[probe]]\ncommand = 'ls'", "not a list", id="a command that is a string"),
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
    host.words(text)
    report = host.carry("install", "1.0")
    assert (report.outcome, report.code, host.version()) == ("failed", "InternalError", "")
    assert said in report.message


def test_words_that_others_may_write_are_not_read(shop: Shop, host: Host) -> None:
    """They run as root."""
    shop.add("1.0")
    host.words("[[probe]]\ncommand = ['true']\n")
    (host.site.etc / "courier.toml").chmod(0o666)
    assert "only root or we" in host.carry("install", "1.0").message


def test_f18_the_trial_uses_what_the_promoted_version_will_use(shop: Shop, host: Host, tmp_path: Path) -> None:
    """The health command runs from where the client will run, by the same link, with the same files."""
    where = tmp_path / "where"
    client = f'#!/bin/sh\necho "$0" >> {where}\necho "{{package}} {{version}}"\nexit {{health}}\n'
    shop.add("1.0", client=client)
    host.carry("install", "1.0")
    assert where.read_text() == f"{host.folder}/current/bin/courier\n"
