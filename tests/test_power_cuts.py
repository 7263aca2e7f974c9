"""The power goes while a server writes a file that others depend on: the next start comes up, and nothing is lost.

Every moment is tried, and of every name that was not synced then both that it is lost and that it is not.
"""

import hashlib
import itertools
import json
import sqlite3
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from backfleet import opening, releases
from backfleet.certificates import Certificates, prepare_certificates
from backfleet.cli import main
from backfleet.endpoints.agents.spool import Spool, SpooledReport
from backfleet.identity import Vault
from backfleet.ids import draw
from backfleet.operations.catalogue import Services
from backfleet.pubsub import open_pubsub
from backfleet.settings import Settings
from backfleet.storage import migrate, open_database
from power_cuts import Cut, Tree, Watched, put_back, watched

NAMES = ["localhost"]


def restarts(disk: Watched, folder: Path) -> Iterator[tuple[Cut, Tree, Path]]:
    """Give every different state that a cut may leave, put back into a folder of its own."""
    seen = []
    for cut in disk.cuts:
        for tree in cut.states():
            state = (tree, cut.passed, cut.beside)
            if state not in seen:
                seen.append(state)
                yield cut, tree, put_back(tree, folder / str(len(seen)))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder that is not there yet, in a folder that is safe."""
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk" / "data"


def is_in_order(files: Certificates) -> bool:
    """Whether a listener can use them, and clients that trust the authority trust the server."""
    files.context()
    authority, server = (x509.load_pem_x509_certificate(path.read_bytes()) for path in (files.authority, files.server))
    server.verify_directly_issued_by(authority)
    key = serialization.load_pem_private_key((files.server_key.parent / "ca.key").read_bytes(), password=None)
    ssl.create_default_context(cafile=str(files.authority))
    return key.public_key() == authority.public_key()


def test_the_authority_is_never_lost_once_it_was_made(data: Path, tmp_path: Path, now: datetime) -> None:
    """And a start after any cut makes certificates that fit each other."""
    with watched(data.parent) as disk:
        made = prepare_certificates(data, NAMES, now=now)
        disk.note("made")
    authority = made.authority.read_bytes()
    tried = 0
    for cut, _, folder in restarts(disk, tmp_path):
        files = prepare_certificates(folder / "data", NAMES, now=now)
        assert is_in_order(files), cut.before
        assert not cut.passed or files.authority.read_bytes() == authority
        tried += 1
    assert tried > 15


def test_a_renewal_that_is_cut_off_is_made_again(data: Path, tmp_path: Path, now: datetime) -> None:
    """With the same authority: hosts need no new one."""
    authority = prepare_certificates(data, NAMES, now=now).authority.read_bytes()
    with watched(data.parent) as disk:
        prepare_certificates(data, [*NAMES, "backup.example"], now=now)
    for cut, _, folder in restarts(disk, tmp_path):
        files = prepare_certificates(folder / "data", NAMES, now=now)
        assert is_in_order(files), cut.before
        assert files.authority.read_bytes() == authority


def test_what_was_sealed_can_be_opened_after_a_power_cut(data: Path, tmp_path: Path) -> None:
    with watched(data.parent) as disk:
        sealed = Vault.open(data).seal("secret")
        disk.note("sealed")
    for cut, _, folder in restarts(disk, tmp_path):
        vault = Vault.open(folder / "data")
        assert not cut.passed or vault.unseal(sealed) == "secret"


def test_a_key_that_a_killed_process_made_is_safe_before_it_is_used(data: Path, tmp_path: Path) -> None:
    """It may have ended between the key's name and the folder's sync; the next process seals with that key."""
    Vault.open(data)
    key = (data / "keys" / "secrets.key").read_bytes()
    (data / "keys" / "secrets.key").unlink()
    with watched(data.parent) as disk:
        (data / "keys" / "secrets.key").write_bytes(key)
        disk._synced.content[disk._number((data / "keys" / "secrets.key").stat())] = key
        sealed = Vault.open(data).seal("secret")
        disk.note("sealed")
    for cut, _, folder in restarts(disk, tmp_path):
        assert not cut.passed or Vault.open(folder / "data").unseal(sealed) == "secret"


def test_release_signing_keys_are_never_lost_once_they_were_made(data: Path, tmp_path: Path) -> None:
    roles = ("root", "targets", "snapshot", "timestamp")
    with watched(data.parent) as disk:
        repository = releases.Repository.open(data)
        disk.note("made")
    for cut, _, folder in restarts(disk, tmp_path):
        again = releases.Repository.open(folder / "data")
        if cut.passed:
            assert all(again.signer(role).public_key == repository.signer(role).public_key for role in roles)


def test_an_artifact_is_safe_before_a_release_names_it(data: Path, tmp_path: Path) -> None:
    """So that signed metadata never vouches for a file that is gone."""
    repository, content = releases.Repository.open(data), b"artifact"
    digest = hashlib.sha256(content).hexdigest()
    (data / "upload").write_bytes(content)
    with watched(data.parent) as disk:
        releases.keep_artifact(repository, data / "upload", digest)
        disk.note("kept")
    for cut, tree, _ in restarts(disk, tmp_path):
        found = tree.get(f"data/artifacts/{digest}")
        assert found == content if cut.passed else found in (None, content)


def test_a_report_that_was_acknowledged_is_never_lost(data: Path, tmp_path: Path) -> None:
    """And half a report is never delivered."""
    report = SpooledReport("mi-1", "finish", {"taskId": "t-1"}, b"output", 1.0, 1)
    spool = Spool(data / "reports")
    with watched(data.parent) as disk:
        spool.add(report, 1)
        disk.note("acknowledged")
    for cut, _, folder in restarts(disk, tmp_path):
        delivered: list[SpooledReport] = []
        Spool(folder / "data" / "reports").deliver(delivered.append, 0.0)
        assert delivered == [report] if cut.passed else delivered in ([], [report])


def test_offline_keys_are_complete_once_their_signers_file_is_there(data: Path, tmp_path: Path) -> None:
    with watched(data.parent) as disk:
        made = CliRunner().invoke(main, ["release", "keys", str(data), "--root", "2", "--threshold", "2"])
        disk.note("made")
    assert made.exit_code == 0, made.output
    names = {f"data/{name}" for name in ("root-1.key", "root-2.key", "targets.key", "signers.json")}
    for cut, tree, _ in restarts(disk, tmp_path):
        assert not cut.passed or names <= set(tree)
        if "data/signers.json" in tree:
            assert all(tree[name] for name in names)


def _copy_of(file: Path) -> Callable[[], bytes]:
    def copy() -> bytes:
        with sqlite3.connect(file) as connection:
            copied = connection.serialize()
        connection.close()
        return copied

    return copy


def test_a_first_start_that_is_cut_off_anywhere_is_finished_by_the_next(data: Path, tmp_path: Path) -> None:
    """The database is the strongest: it keeps every commit. Whatever it depends on is in the data folder then."""
    file = tmp_path / "first.db"
    database = open_database(f"sqlite:///{file}")
    migrate(database)
    database.close()
    moments = itertools.count()

    def start(folder: Path, database: Path) -> tuple[Services, Certificates]:
        settings = Settings(data=folder, database_url=f"sqlite:///{database}")
        return opening.open_services(settings, open_pubsub(""), clock=lambda: datetime.now(UTC), draw=draw)

    with watched(data.parent, _copy_of(file)) as disk:

        def cut(_: sa.Connection) -> None:
            disk.cut("commit")

        sa.event.listen(sa.Engine, "commit", cut)
        try:
            start(data, file)[0].database.close()
        finally:
            sa.event.remove(sa.Engine, "commit", cut)
        disk.note("started")
    authority = (data / "tls" / "ca.pem").read_bytes()
    for found, _, folder in restarts(disk, tmp_path):
        copied = tmp_path / f"{next(moments)}.db"
        copied.write_bytes(found.beside)
        with sqlite3.connect(copied) as connection:
            keys = connection.execute("SELECT id, sealed_secret FROM access_keys").fetchall()
        connection.close()
        services, certificates = start(folder / "data", copied)
        admin = json.loads((folder / "data" / "admin.json").read_text())
        if keys:  # somebody may have called already
            assert [(admin["access_key_id"], admin["access_key_secret"])] == [
                (key, services.vault.unseal(sealed)) for key, sealed in keys
            ], found.before
            assert certificates.authority.read_bytes() == authority
        assert is_in_order(certificates)
        with services.database.reading() as tx:
            assert all(releases.may_sign(tx, services.repository, role) for role in ("root", "targets", "timestamp"))
        services.database.close()
    assert next(moments) > 30
