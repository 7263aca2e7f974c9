"""The Backfleet API, called as the endpoint calls it: permission, parameters, answer, audit."""

import hashlib
import itertools
import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backfleet import identity, releases
from backfleet.ids import Draw
from backfleet.ids import draw as real_draw
from backfleet.operations import backfleet, perform
from backfleet.operations.catalogue import BACKFLEET, Call, Services, Upload, find
from backfleet.settings import Settings
from backfleet.storage import Database
from backfleet.wire import answers
from backfleet.wire.errors import ApiError
from made_keys import open_keys
from releases.artifacts import program, tar

assert backfleet.__all__, "importing it enters its operations"

CLIENT = tar(program("rclone", "1.75.2"), compression="gz")
NAMES = {"PackageName": "rclone", "ReleaseVersion": "1.75.2", "Platform": "linux-amd64"}


class Api:
    """One caller of the API. `api("ListReleases")` returns the JSON of the answer or of the error (with Status)."""

    def __init__(self, services: Services, caller: identity.Caller, now: datetime, uploads: Path) -> None:
        self.services, self.caller, self.now, self.uploads = services, caller, now, uploads
        self._numbers = itertools.count(len(list(uploads.iterdir())))

    def __call__(self, action: str, *, body: bytes | None = None, **flat: str) -> dict[str, Any]:
        request_id = f"R-{real_draw(20)}"
        call = Call(request_id, self.caller, "cn-hangzhou", self.now, "10.0.0.7", True, self.services)
        try:
            admitted = perform.admit(find(BACKFLEET.version, action), call, flat, "LTAItest")
            reply = perform.run(admitted, replace(call, upload=None if body is None else self._upload(body)))
            sent = answers.success(action, reply, request_id, xml=False)
        except ApiError as problem:
            sent = answers.failure(problem, request_id, "localhost", xml=False)
        found: dict[str, Any] = json.loads(sent.body)
        assert found.pop("RequestId") == request_id
        return found if sent.status == 200 else {**found, "Status": sent.status}

    def add(self, body: bytes = CLIENT, **changes: str) -> dict[str, Any]:
        """Call AddRelease, for rclone 1.75.2 unless other values are given."""
        asked = {**NAMES, "Format": "tar", "FileName": "rclone.tar.gz", **changes}
        return self("AddRelease", body=body, **{name: value for name, value in asked.items() if value})

    def refused(self, action: str, **flat: str) -> tuple[int, str]:
        """Return status and code of a refusal."""
        found = self(action, **flat)
        return found["Status"], found["Code"]

    def later(self, **by: float) -> "Api":
        """Return the same caller at a later time."""
        return Api(self.services, self.caller, self.now + timedelta(**by), self.uploads)

    def as_user(self, name: str, *policies: str) -> "Api":
        """Return the API, called by a new user with these system policies."""
        services, account, now = self.services, self.caller.account_id, self.now
        with services.database.transaction() as tx:
            user = identity.create_user(tx, account, name, now=now, draw=services.draw)
            for policy in policies:
                identity.attach_policy(tx, account, name, policy, "System", now=now)
        caller = identity.Caller(account, "RAMUser", f"acs:ram::{account}:user/{name}", user.id, user.id, name)
        return Api(services, caller, now, self.uploads)

    def _upload(self, body: bytes) -> Upload:
        path = self.uploads / f"upload-{next(self._numbers)}"
        path.write_bytes(body)
        return Upload(path, hashlib.sha256(body).hexdigest(), len(body))


@pytest.fixture
def services(database: Database, tmp_path: Path, draw: Draw, now: datetime) -> Services:
    """What operations may use, with the first signed metadata; the artifacts belong to one test."""
    vault, repository = open_keys(tmp_path)
    with database.transaction() as tx:
        releases.refresh(tx, repository, now=now)
    return Services(database, Settings(data=tmp_path), vault, repository, draw)


@pytest.fixture
def api(services: Services, now: datetime, draw: Draw, tmp_path: Path) -> Api:
    """The API, called by the root of the administrator account."""
    with services.database.transaction() as tx:
        made = identity.first_account(tx, services.vault, now=now, draw=draw)
        assert made is not None
        known = identity.find_key(tx, services.vault, made.access_key_id)
    assert known is not None
    (tmp_path / "incoming").mkdir()
    return Api(services, known.caller, now, tmp_path / "incoming")
