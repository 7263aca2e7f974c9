"""A real server, and the command line that calls it."""

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from backfleet.cli import main
from journeys.installation import Installation

Cli = Callable[..., Result]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running server with one host, whose agent runs."""
    made = Installation(tmp_path_factory.mktemp("server"))
    try:
        made.start()
        made.enrol(1)
        yield made
    finally:
        made.close()


@pytest.fixture
def cli(server: Installation, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Return a function that runs a command on that server, with only its data folder in the environment."""
    for name in list(os.environ):
        if name.startswith(("ALIBABA_CLOUD_", "BACKFLEET_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("BACKFLEET_DATA", str(server.data))

    def run(*arguments: str, **environment: str) -> Result:
        return CliRunner().invoke(main, list(arguments), env=environment)

    return run


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that makes a release's file: a small program in an archive."""

    def build(version: str) -> Path:
        file = tmp_path / f"courier-{version}.tar.gz"
        if file.exists():  # made anew in another second it would have other bytes: gzip writes the time into it
            return file
        text = f"#!/bin/sh\necho courier {version}\n".encode()
        with tarfile.open(file, "w:gz") as archive:
            info = tarfile.TarInfo("bin/courier")
            info.mode, info.size = 0o755, len(text)
            archive.addfile(info, io.BytesIO(text))
        return file

    return build


def reasons(cli: Cli, event: str) -> list[str | None]:
    """Return the reasons that the audit trail has of an operation, newest first; None where none was given."""
    found = cli("audit", "--event", event, "--json")
    assert found.exit_code == 0, found.output
    return [each["requestParameters"].get("Reason") for each in json.loads(found.stdout)]
