"""What we give to Prometheus and Grafana: rules that promtool accepts, and figures and commands that exist."""

import json
import re
import subprocess
from pathlib import Path

import click
import prometheus_client
import pytest
import yaml

import backfleet.app
from backfleet.cli import main
from documents import PROJECT

FOLDER = PROJECT / "packaging" / "monitoring"
PROMTOOL = PROJECT / ".cache" / "debian" / "promtool"
RULES = [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
PANELS = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
EXPRESSIONS = [rule["expr"] for rule in RULES] + [each["expr"] for panel in PANELS for each in panel["targets"]]


def exported() -> dict[str, set[str]]:
    """Return every figure that `/metrics` can have, with its labels."""
    assert backfleet.app  # the composition root imports every part, and with it every figure
    found: dict[str, set[str]] = {}
    for collector in prometheus_client.REGISTRY._collector_to_names:
        for name in prometheus_client.REGISTRY._collector_to_names[collector]:
            found[name] = set(getattr(collector, "_labelnames", ()))
    return found


@pytest.mark.parametrize("words", [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]])
def test_promtool_accepts_the_rules(words: list[str]) -> None:
    """The real one: that they can be read, and when they fire."""
    if not PROMTOOL.exists():
        pytest.skip("no promtool: tools/debian_files.sh .cache/debian")
    done = subprocess.run([PROMTOOL, *words], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_figure_and_label_in_an_expression_exists(expression: str) -> None:
    """A rule over a figure that is called otherwise never fires."""
    known = exported()
    names = set(re.findall(r"\bbackfleet_\w+", expression))
    assert names or expression.startswith("up{")
    assert names <= set(known), names - set(known)
    for name, selectors in re.findall(r"\b(backfleet_\w+)\{([^}]*)\}", expression):
        labels = set(re.findall(r"(\w+)\s*(?:=~|!=|=)", selectors))
        assert labels <= known[name], (name, labels - known[name])
    grouped = {label for by in re.findall(r"by \(([^)]*)\)", expression) for label in re.split(r",\s*", by)}
    assert grouped <= set().union(*(known[name] for name in names), {"instance", "le", "job"}) or not names


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_do_with_commands_that_exist(rule: dict[str, dict[str, str]]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    for line in re.findall(r"backfleet ([a-z][a-z -]*[a-z])", rule["annotations"]["action"]):
        command: click.Command | None = main
        for word in line.split():
            if not isinstance(command, click.Group):
                break
            command = command.get_command(click.Context(command), word)
        assert command is not None, line


def test_the_dashboard_has_what_grafana_needs() -> None:
    """Panels with ids of their own that do not lie on each other, and a data source that is chosen there."""
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    taken = [
        (x, y)
        for panel in PANELS
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
    assert {panel["datasource"]["uid"] for panel in PANELS} == {"${source}"}


def test_every_figure_is_documented() -> None:
    """On the page about monitoring."""
    text = Path(PROJECT / "docs" / "monitoring.md").read_text()
    known = {name for name in exported() if name.startswith("backfleet_") and not name.endswith("_created")}
    wanted = {name for name in known if f"{name}_total" not in known}
    missing = {name for name in wanted if not re.search(rf"`{re.sub(r'_(bucket|sum|count)$', '', name)}[`{{ ]", text)}
    assert missing == set()
