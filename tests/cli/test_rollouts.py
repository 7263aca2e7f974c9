"""backfleet rollout, against a real server and host."""

import json
from collections.abc import Callable
from pathlib import Path

from backfleet.cli import _rollouts
from backfleet.operations.backfleet.rollouts.answers import COUNTS
from backfleet_host.platforms import platform_here
from cli.conftest import Cli
from journeys.installation import Installation

POLICY = """name = "courier to 1.1"
package = "courier"
version = "1.1"
deadline = "2099-01-01T00:00:00Z"
ring = [{ name = "all" }]
"""


def test_members_are_shown_by_what_people_call_their_hosts(
    cli: Cli, server: Installation, program: Callable[[str], Path], tmp_path: Path
) -> None:
    """By the name that a person gave it; `--members` alone asks for them; JSON has the name too."""
    host, file = server.hosts[0].instance_id, tmp_path / "policy.toml"
    for version in ("1.0", "1.1"):
        words = ("--package", "courier", "--version", version, "--platform", platform_here())
        assert cli("release", "add", str(program(version)), *words).exit_code == 0
        if version == "1.0":
            assert cli("client", "install", "--instance", host, "--wait").exit_code == 0
    renamed = cli(
        "call", "ModifyManagedInstance", "RegionId=cn-hangzhou", f"InstanceId={host}", "InstanceName=the-till-in-Lyon"
    )
    assert renamed.exit_code == 0, renamed.output
    file.write_text(POLICY)
    made = json.loads(cli("rollout", "apply", str(file), "--draft", "--json").stdout)["RolloutId"]
    start = f"`backfleet rollout start {made}`"
    assert start in cli("rollout", "apply", str(file), "--draft").stdout
    watched = cli("rollout", "watch", made)
    assert (watched.exit_code, start in watched.stdout.splitlines()[-1]) == (1, True), "nobody waits for a draft"
    assert "the-till-in-Lyon" not in cli("rollout", "show", made).stdout
    shown = cli("rollout", "show", made, "--members")
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    head = next(at for at, line in enumerate(lines) if line.startswith("HOST"))
    assert lines[head].split()[:5] == ["HOST", "CLIENT", "INSTANCE", "RING", "STATE"]
    assert lines[head + 1].split()[0] == "the-till-in-Lyon"
    assert host in lines[head + 1]
    assert len(lines) == head + 2
    (member,) = json.loads(cli("rollout", "show", made, "--members", "--json").stdout)["MemberList"]
    assert (member["InstanceName"], member["InstanceId"]) == ("the-till-in-Lyon", host)
    cancelled = cli("rollout", "cancel", made)
    assert cancelled.exit_code == 0, cancelled.output


def test_a_watched_rollout_is_printed_for_each_change_and_says_what_to_do_once_it_is_halted(
    cli: Cli, server: Installation, program: Callable[[str], Path], tmp_path: Path
) -> None:
    """Where nothing is redrawn, as in a log. The exit code is 0 only if all went well."""
    host, file = server.hosts[0].instance_id, tmp_path / "policy.toml"
    file.write_text(POLICY.replace("1.1", "1.3"))
    manifest = tmp_path / "manifest.toml"
    manifest.write_text('[health]\ncommand = ["courier"]\nexpect = "courier {version}"\n')
    for version, content in (("1.2", "1.2"), ("1.3", "1.4")):  # what says that it is 1.4 is not healthy as 1.3
        words = (
            "--package",
            "courier",
            "--version",
            version,
            "--platform",
            platform_here(),
            "--manifest",
            str(manifest),
        )
        assert cli("release", "add", str(program(content)), *words).exit_code == 0
        if version == "1.2":
            cli("client", "install", "--instance", host, "--wait")  # it may have one already
    applied = cli("rollout", "apply", str(file), "--json")
    assert applied.exit_code == 0, applied.output
    made = json.loads(applied.stdout)["RolloutId"]
    watched = cli("rollout", "watch", made)
    assert watched.exit_code == 1, watched.output
    assert "halted: 1 member of the rollout had failed by then; the budget allows 0" in watched.stdout
    assert watched.stdout.splitlines()[-1].startswith(f"why: `backfleet rollout show {made} --members`")
    pictures = watched.stdout.split(f"{made}: courier to 1.3")[1:]
    assert len(pictures) == len(set(pictures)), "nothing twice"
    assert "about over at" not in watched.stdout
    assert cli("rollout", "cancel", made).exit_code == 0


def test_every_member_is_in_a_count_but_those_whose_ring_has_not_begun() -> None:
    """Those that go back are, too."""
    assert set(_rollouts._RING_COUNTS) == {*COUNTS.values()} - {"Pending"}
