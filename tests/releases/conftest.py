"""An installation's releases, and clients to add to them."""

import hashlib
import itertools
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from backfleet import releases
from backfleet.storage import Database
from releases.artifacts import program, tar


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose signing keys are made: artifacts in it are harmless to other tests."""
    folder = tmp_path_factory.mktemp("releases")
    releases.Repository.open(folder)
    return folder


@pytest.fixture
def repository(keys: Path) -> releases.Repository:
    """Where artifacts and keys are."""
    return releases.Repository.open(keys)


@pytest.fixture
def prepare(repository: releases.Repository, tmp_path: Path) -> Callable[..., releases.Prepared]:
    """A release of rclone that may be added, its file kept. Other bytes, other names and a manifest may be given."""
    numbers = itertools.count()

    def make(
        version: str = "1.75.2", content: bytes = b"", package: str = "rclone", **changes: Any
    ) -> releases.Prepared:
        content = content or tar(program(package, version), compression="gz")
        upload = tmp_path / f"upload-{next(numbers)}"
        upload.write_bytes(content)
        asked = {"package": package, "version": version, "platform": "linux-amd64", "form": "tar", "given": None}
        prepared = releases.prepare(
            upload,
            hashlib.sha256(content).hexdigest(),
            len(content),
            **{**asked, "file_name": f"{package}-{version}.tar.gz", **changes},
        )
        releases.keep_artifact(repository, upload, prepared.sha256)
        return prepared

    return make


@pytest.fixture
def shop(database: Database, repository: releases.Repository, now: datetime) -> Database:
    """A database with its first signed metadata."""
    with database.transaction() as tx:
        assert releases.refresh(tx, repository, now=now)
    return database


@pytest.fixture
def add(
    shop: Database, repository: releases.Repository, prepare: Callable[..., releases.Prepared], now: datetime
) -> Callable[..., tuple[releases.Release, bool]]:
    """Add a release of rclone, as an operator does; whether it is new, too."""

    def make(
        version: str = "1.75.2", *, channel: str = "stable", at: datetime = now, **changes: Any
    ) -> tuple[releases.Release, bool]:
        prepared = prepare(version, **changes)
        with shop.transaction() as tx:
            return releases.add(tx, repository, prepared, channel=channel, now=at)

    return make
