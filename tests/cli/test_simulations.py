"""`backfleet rollout simulate`: on an inventory, where no server is asked, and by a server."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from backfleet.cli import _simulations, main
from backfleet.rollouts.simulation import PRESETS
from cli.fleet import Fleet, many

__all__ = ["many"]

POLICY = """name = "courier"
package = "courier"
version = "2.0"
deadline = "2099-12-20T00:00:00Z"
[[ring]]
name = "canary"
count = 2
[[ring]]
name = "rest"
gates = [{ kind = "backups", first_run = "each" }]
"""


def test_every_preset_can_be_chosen() -> None:
    """Their names are written down twice, so that other commands start without them."""
    assert list(_simulations.PRESETS) == list(PRESETS)


def simulate(folder: Path, *arguments: str, policy: str = POLICY, inventory: str = "") -> Result:
    (folder / "p.toml").write_text(policy)
    (folder / "i.csv").write_text(inventory or "client\n" + "\n".join(f"c{at}" for at in range(50)))
    files = [str(folder / "p.toml"), "--inventory", str(folder / "i.csv")]
    return CliRunner().invoke(main, ["rollout", "simulate", *files, *arguments])


def test_it_shows_rings_and_whom_a_bad_release_reaches(tmp_path: Path) -> None:
    """Without a server, an account or a data folder."""
    found = simulate(tmp_path, "--failures", "bad-canary")
    assert found.exit_code == 0, found.output
    assert "1 member got an order; the release fails on 1 of them" in found.output
    assert "canary" in found.output


def test_json_and_a_picture_show_the_same(tmp_path: Path) -> None:
    """The picture is a file."""
    found = simulate(tmp_path, "--json", "--svg", str(tmp_path / "a.svg"), "--preset", "ssm-ramp", "--seed", "4")
    assert json.loads(found.output)["Done"] == 50
    assert (tmp_path / "a.svg").read_text().startswith("<svg ")


@pytest.mark.parametrize(
    ("arguments", "policy", "inventory", "text"),
    [
        (("--failures", "lots"), POLICY, "", "--failures: found 'lots'; give a percentage"),
        (("--failures", "last-30-days"), POLICY, "", "--failures: only a server knows how often hosts failed"),
        ((), POLICY.replace("count", "cuont"), "", "did you mean `count`?"),
        ((), POLICY.replace("2099", "2019"), "", "is over; give a time that is to come"),
        ((), POLICY, "client\na\na\n", "line 3: client 'a' is listed twice"),
        ((), POLICY, "client\na\n", "it asks for 2 reachable clients"),
    ],
)
def test_what_is_wrong_is_refused_in_its_own_words(
    tmp_path: Path, arguments: tuple[str, ...], policy: str, inventory: str, text: str
) -> None:
    """With exit code 1."""
    found = simulate(tmp_path, *arguments, policy=policy, inventory=inventory)
    assert found.exit_code == 1
    assert text in found.output


@pytest.mark.parametrize("failures", ["bad-canary", "0%"])
def test_a_server_shows_a_rollout_that_does_not_end_well(many: Fleet, tmp_path: Path, failures: str) -> None:
    """A ring that never began, or never finished, has no such moment: the server leaves it out."""
    if not many.run_json("client", "list"):
        for number in range(4):
            many.add(f"web-{number}")
        many.env.client(many.env.host(name="pinned"), "1.0", pin="<2")
    (tmp_path / "p.toml").write_text(POLICY)
    found = many.run("rollout", "simulate", str(tmp_path / "p.toml"), "--failures", failures)
    assert (found.exit_code, found.exception) == (0, None), found.output
    assert found.output.count("RING") == 1
    assert "not done:" in found.output
    assert "first stopped at :" not in found.output
    report = many.run_json("rollout", "simulate", str(tmp_path / "p.toml"), "--failures", failures)
    assert not all("FinishedTime" in ring for ring in report["Rings"]), "this test needs a ring that does not finish"
