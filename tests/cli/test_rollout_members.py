"""Members of a rollout are held, and tried again, by what people call their hosts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.fleet import Fleet, many

__all__ = ["many"]  # a fixture

POLICY = """name = "courier to 2.0"
package = "courier"
version = "2.0"
deadline = "2099-01-01T00:00:00Z"
[select]
tags = { held = "maybe" }
[[ring]]
name = "all"
"""


@pytest.fixture
def rollout(many: Fleet, tmp_path: Path) -> Iterator[str]:
    """A draft of two members; the host of one has another client, too."""
    host, _ = many.add("till-1", held="maybe")
    many.env.client(host, "1.0", package="rclone")
    many.add("till-2", held="maybe")
    many.add("till-3", package="rclone")
    file = tmp_path / "policy.toml"
    file.write_text(POLICY)
    made = many.run_json("rollout", "apply", str(file), "--draft")["RolloutId"]
    yield made
    many.run("rollout", "cancel", made)
    for name in ("till-1", "till-2", "till-3"):
        many.run("instance", "deregister", name, "--yes")


def held(many: Fleet, rollout: str) -> list[str]:
    members = many.run_json("rollout", "show", rollout, "--members")["MemberList"]
    return [each["InstanceName"] for each in members if each["Held"]]


def test_a_member_is_held_and_released_by_the_name_of_its_host(many: Fleet, rollout: str) -> None:
    """Of a host with several clients that of the rollout's package is meant."""
    done = many.run("rollout", "hold", rollout, "till-1")
    assert (done.exit_code, done.stdout) == (0, "till-1: held\n")
    assert held(many, rollout) == ["till-1"]
    assert many.run("rollout", "hold", rollout, "till-1", "--release").exit_code == 0
    assert held(many, rollout) == []


def test_ids_of_clients_go_to_the_server_as_they_are(many: Fleet, rollout: str) -> None:
    """Whoever may hold members need not be one who may list clients."""
    members = many.run_json("rollout", "show", rollout, "--members")["MemberList"]
    assert many.run("rollout", "hold", rollout, members[0]["ClientId"]).exit_code == 0
    assert [action for action, _ in many.asked] == ["HoldRolloutMember"]


@pytest.mark.parametrize(
    ("name", "text"), [("till-3", "till-3 has no courier, which"), ("till-9", "'till-9'")], ids=["another", "unknown"]
)
def test_a_name_that_means_no_member_is_refused(many: Fleet, rollout: str, name: str, text: str) -> None:
    for words in (["hold", rollout, name], ["retry", rollout, "--client", "till-1", "--client", name]):
        done = many.run("rollout", *words)
        assert (done.exit_code, text in done.stderr) == (1, True), done.output
        assert not many.calls("HoldRolloutMember") + many.calls("RetryRolloutMembers")


def test_members_begin_again_by_the_names_of_their_hosts(many: Fleet, rollout: str) -> None:
    done = many.run("rollout", "retry", rollout, "--client", "till-1", "--client", "till-2")
    assert done.exit_code == 0, done.output
    (asked,) = many.calls("RetryRolloutMembers")
    assert len(set(asked["ClientIds"])) == 2


def test_trying_nobody_again_is_said(many: Fleet, rollout: str) -> None:
    """With members named, and without."""
    said = "ended without success, so nothing is to be tried again"
    assert many.run("rollout", "retry", rollout).stdout == f"{rollout}: no member {said}\n"
    done = many.run("rollout", "retry", rollout, "--client", "till-1")
    assert (done.exit_code, done.stdout) == (0, f"{rollout}: none of these members {said}\n")
