"""backfleet client runs, with a real host: a run through a shim is listed seconds later."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from backfleet_host.platforms import platform_here
from cli.conftest import Cli
from journeys.installation import Installation

SOON = 60.0  # seconds: the agent gathers runs for five


def test_a_run_through_a_shim_is_listed_with_its_result(
    cli: Cli, server: Installation, program: Callable[[str], Path]
) -> None:
    """Text and JSON; nothing is overdue that has run once."""
    file = str(program("1.0"))
    added = cli("release", "add", file, "--package", "courier", "--version", "1.0", "--platform", platform_here())
    assert added.exit_code == 0, added.output
    assert cli("client", "install", "--instance", server.hosts[0].instance_id, "--wait").exit_code == 0
    subprocess.run([server.hosts[0].root / "bin" / "courier", "push"], check=True, capture_output=True)
    until, found = time.monotonic() + SOON, []
    while not [run for run in found if run["Result"] != "running"]:
        assert time.monotonic() < until, "the run was not listed"
        found = json.loads(cli("client", "runs", "--version", "1.0", "--backups", "--json").stdout)["Runs"]
    assert [(run["PackageName"], run["Result"], run["IsBackup"]) for run in found] in (
        [("courier", "succeeded", True)],
        [("courier", "unknown", True)],  # where the kernel does not tell the agent
    )
    listed = cli("client", "runs", "--package", "courier")
    assert (listed.exit_code, found[0]["ClientId"] in listed.stdout) == (0, True), listed.output
    assert (found[0]["ReadableBy"], "READABLE BY" in listed.stdout) == ("1.0", True)
    assert cli("client", "runs", "--client", "c-nobody").stdout.count("\n") == 1
    assert cli("client", "runs", "--overdue").exit_code == 0
