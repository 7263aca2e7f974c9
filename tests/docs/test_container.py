"""The container's files, as far as they can be judged without an engine: what they name exists, what they run runs."""

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import yaml

from backfleet.settings import Settings
from documents import PROJECT
from journeys.installation import free_ports, wait_for

FOLDER = PROJECT / "packaging" / "container"
SETTINGS = {f"BACKFLEET_{field.name.upper()}" for field in fields(Settings)}


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the file with their arguments, continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", (FOLDER / "Containerfile").read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], line.split(None, 1)[1]) for line in lines]


def environment() -> dict[str, str]:
    """Return the variables that it sets."""
    return dict(
        word.partition("=")[::2] for name, rest in instructions() if name == "ENV" for word in shlex.split(rest)
    )


def test_it_copies_what_the_project_has_or_builds_and_sets_settings_that_exist() -> None:
    copied = [
        word for name, rest in instructions() if name == "COPY" and "--from" not in rest for word in rest.split()[:-1]
    ]
    assert copied == ["requirements/run.txt", "build/backfleet-*.whl"]
    assert (PROJECT / copied[0]).exists()
    assert {name for name in environment() if name.startswith("BACKFLEET_")} <= SETTINGS
    order = [name for name, _ in instructions()]
    assert order.index("USER") < order.index("ENTRYPOINT")


def test_its_command_serves_and_its_health_check_tells_a_server_from_none(tmp_path: Path) -> None:
    """With its own variables, but for the folder and the ports."""
    http, https = (f"127.0.0.1:{port}" for port in free_ports(2))
    said = {"BACKFLEET_DATA": str(tmp_path / "data"), "BACKFLEET_HTTP": http, "BACKFLEET_HTTPS": https}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    given = {**os.environ, **environment(), **said, "PATH": path}
    parts = dict(instructions())
    check = json.loads(parts["HEALTHCHECK"].partition("CMD ")[2])
    check[-1] = check[-1].replace("127.0.0.1:8080", http)

    def is_healthy() -> bool:
        return subprocess.run(check, env=given, capture_output=True, check=False).returncode == 0

    assert not is_healthy()
    command = json.loads(parts["ENTRYPOINT"]) + json.loads(parts["CMD"])
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, env=given, stdout=log, stderr=log)
    try:
        wait_for(is_healthy, 60)
    finally:
        server.terminate()
        assert server.wait(30) == 0


def test_the_compose_file_names_what_exists() -> None:
    """Volumes, services, settings, and the file that it builds from."""
    composed = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    services = composed["services"]
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        assert {volume.partition(":")[0] for volume in service["volumes"]} <= set(composed["volumes"])
    built = services["server"]["build"]
    assert ((FOLDER / built["context"]).resolve() / built["dockerfile"]).exists()
    assert set(services["server"]["environment"]) <= SETTINGS
    mounted = {volume.partition(":")[2] for volume in services["server"]["volumes"]}
    assert environment()["BACKFLEET_DATA"] in mounted
