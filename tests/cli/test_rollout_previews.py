"""backfleet rollout preview: who is pinned, why, by whom and until when; and what cannot be had."""

from pathlib import Path

import pytest

from cli.fleet import Fleet, many

__all__ = ["many"]

POLICY = """
name = "courier to 2.0"
package = "courier"
version = "2.0"
deadline = "2099-01-01T00:00:00Z"
ring = [{ name = "all" }]
"""


@pytest.fixture
def policy(tmp_path: Path) -> str:
    """The path of a policy."""
    file = tmp_path / "courier.toml"
    file.write_text(POLICY)
    return str(file)


def test_pinned_members_are_named_with_their_pins(many: Fleet, policy: str) -> None:
    """Five of them, and the others are counted; the answer of --json names 100."""
    for number in range(7):
        host = many.env.host(name=f"web-{number}")
        many.env.client(host, "1.0", pin="<2")
    shown = many.run("rollout", "preview", policy)
    assert shown.exit_code == 0, shown.output
    assert "7 wait for the end of their pins:" in shown.output
    assert shown.output.count("pinned to <2 until ") == 5
    assert f"by {many.env.root.arn}: year's end" in shown.output
    assert "and 2 more; `backfleet client pins` lists every pin" in shown.output
    assert len(many.run_json("rollout", "preview", policy)["Pins"]) == 7


def test_a_version_that_cannot_be_had_is_named_per_platform(many: Fleet, policy: str) -> None:
    """With its reason and how many hosts need it; the exit code is 1."""
    many.add("web-8")
    hosts = sum(ring["Members"] for ring in many.run_json("rollout", "preview", policy)["Rings"])
    for _ in range(8 - hosts):  # whichever tests of this module came before
        many.add("web")
    many.env.client(many.env.host(platform="linux-arm64"))
    named = {"PackageName": "courier", "ReleaseVersion": "2.0", "Platform": "linux-amd64"}
    many.call("backfleet", "WithdrawRelease", **named)
    shown = many.run("rollout", "preview", policy)
    assert shown.exit_code == 1
    assert "courier 2.0 for linux-amd64: was withdrawn; 8 hosts cannot have it" in shown.output
    assert "courier 2.0 for linux-arm64: has no release; 1 host cannot have it" in shown.output
    assert "1 host needs it" in shown.output


def test_members_without_a_way_to_the_version_are_named_with_the_version_that_they_have(
    many: Fleet, policy: str, tmp_path: Path
) -> None:
    """In text, JSON and CSV. Those that can go there make it no fault."""
    many.env.release("3.0", upgrades_from=">=2.0")
    hosts = [many.env.host() for _ in range(2)]
    many.env.client(hosts[0], "2.0")
    many.env.client(hosts[1], "1.7")
    named = {"PackageName": "courier", "ReleaseVersion": "2.0", "Platform": "linux-amd64"}
    many.call("backfleet", "WithdrawRelease", **named)
    file = tmp_path / "far.toml"
    file.write_text(POLICY.replace('version = "2.0"', f'version = "3.0"\nselect = {{ instances = {hosts} }}'))
    why = "may be reached from >=2.0 only, and no version that is offered leads there"
    shown = many.run("rollout", "preview", str(file))
    assert shown.exit_code == 0, shown.output
    assert f"courier 3.0 for linux-amd64 with 1.7: {why}; 1 host cannot have it" in shown.output
    found = many.run_json("rollout", "preview", str(file))["NotToBeHad"]
    assert [(each["FromVersion"], each["Hosts"], each["Reason"]) for each in found] == [("1.7", 1, why)]
    table = many.run("rollout", "preview", str(file), "--csv").output.splitlines()
    assert table[0] == "what,name,number,why,first"
    assert table[1].startswith("ring,all,2,,c-")
    assert table[2:] == [f'cannot have it,linux-amd64 with 1.7,1,"{why}",']


def test_a_list_says_what_the_text_says(many: Fleet, tmp_path: Path) -> None:
    """How many have it already, the first clients of each ring, those in no ring, and who decides what comes in."""
    many.env.release("2.5")
    for version in ("1.0", "1.0", "1.0", "2.5"):
        many.add("db", version, role="db")
    file = tmp_path / "db.toml"
    selects = 'select = { tags = { role = "db" }, dynamic = true }\nring = [{ name = "few", count = 2 }]'
    file.write_text(POLICY.replace('ring = [{ name = "all" }]', selects).replace('version = "2.0"', 'version = "2.5"'))
    found = many.run_json("rollout", "preview", str(file))
    first, left_out = found["Rings"][0]["Clients"], found["LeftOut"]
    assert (len(first), len(left_out), found["AlreadyThere"]) == (2, 1, 1)
    table = many.run("rollout", "preview", str(file), "--csv").output.splitlines()
    assert table[:4] == [
        "what,name,number,why,first", f"ring,few,2,,{' '.join(first)}", "already there,2.5,1,,",
        f"in no ring,,1,,{left_out[0]}",
    ]  # fmt: skip
    assert table[4] == 'tag setter,the account itself,,"may set tags, and so decides what is taken in",'
    chosen = many.run("rollout", "preview", str(file), "--columns", "what,number")
    assert [line.split() for line in chosen.output.splitlines()[1:3]] == [["ring", "2"], ["already", "there", "1"]]
