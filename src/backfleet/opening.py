"""Open what a process works on: data folder, database, keys, releases, certificates. A first start makes them."""

import contextlib
import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from backfleet import hold, identity, installation, object_store, releases, sockets
from backfleet.certificate_names import certificate_names
from backfleet.certificates import Certificates, prepare_certificates
from backfleet.clock import Clock
from backfleet.ids import Draw
from backfleet.operations.catalogue import Services
from backfleet.pubsub import PubSub
from backfleet.settings import Settings
from backfleet.storage import Database, TimeOuts, Turns, migrate, open_database
from backfleet_host.files import make_folder, sync_folder, write_file


class CannotStart(Exception):
    """The server cannot start; the text says why and what to do."""


@contextlib.contextmanager
def data_folder_taken(settings: Settings, *, is_sibling: bool = False) -> Iterator[None]:
    """Make the data folder, and keep other servers from it for as long as the block lasts, unless parts share it.

    Where a server has several processes, their parent keeps others from it.

    Raises:
        CannotStart: the folder cannot be made, or another server has it.
    """
    try:
        make_folder(settings.data)
        held = None if is_sibling else installation.hold_data_folder(settings)
    except installation.USELESS as problem:
        raise CannotStart(installation.describe(problem, settings.data)) from problem
    try:
        yield
    finally:
        if held is not None:
            os.close(held)


def open_services(
    settings: Settings, pubsub: PubSub, *, clock: Clock, draw: Draw, turns: Turns | None = None
) -> tuple[Services, Certificates]:
    """Open everything that a process needs. A first start makes what does not exist yet.

    Raises:
        CannotStart: the data folder or the database cannot be used.
    """
    try:
        make_folder(settings.data)
        time_outs = TimeOuts(settings.lock_seconds, settings.statement_seconds)
        database = open_database(settings.database, pubsub.publish, time_outs, turns)
        installation.check_database_is_there(settings.data, database)
        migrate(database)
        installation.check_keys_are_there(settings.data, database)
        vault = identity.Vault.open(settings.data)
        repository = releases.Repository.open(settings.data, stored_artifacts(settings))
        certificates = prepare_certificates(settings.data, certificate_names(settings), now=clock())
        sync_folder(settings.data)  # an earlier process may have made folders in it and ended before its own sync
        _first_start(settings, database, vault, repository, certificates, clock(), draw)
    except object_store.BadPlace as problem:
        raise CannotStart(str(problem)) from None
    except installation.USELESS as problem:
        raise CannotStart(installation.describe(problem, settings.data)) from problem
    watch = hold.Watch(database)
    services = Services(database, settings, vault, repository, draw, watch)
    return services, certificates


def stored_artifacts(settings: Settings) -> releases.Stored | None:
    """Return the artifacts in the object store that the settings name; None if they name none. Asks nobody.

    Raises:
        BadPlace: these settings cannot be used.
    """
    if not settings.artifacts_url:
        return None
    place = object_store.Place.of(
        settings.artifacts_url,
        settings.artifacts_endpoint,
        settings.artifacts_region,
        settings.artifacts_credentials_file,
        settings.outbound_authority,
    )
    return releases.Stored(
        object_store.Bucket(place),
        settings.data / "artifacts",
        most_bytes=settings.artifacts_cache_bytes,
        most_of_one=settings.upload_limit,
    )


def _first_start(
    settings: Settings,
    database: Database,
    vault: identity.Vault,
    repository: releases.Repository,
    certificates: Certificates,
    now: datetime,
    draw: Draw,
) -> None:
    """Make the first account and the first release metadata, once, and write the account's key to admin.json."""
    with database.transaction() as tx:
        releases.refresh(tx, repository, now=now)
        key = identity.first_account(tx, vault, now=now, draw=draw)
        if key is not None:
            # Inside the transaction: if the file cannot be written, the account is not made either.
            facts = {
                "account_id": key.account_id,
                "access_key_id": key.access_key_id,
                "access_key_secret": key.access_key_secret,
            }
            write_json(settings.data / "admin.json", facts | endpoints_of(settings, certificates))


def endpoints_of(settings: Settings, certificates: Certificates) -> dict[str, str]:
    """Return how a client on this machine reaches the server."""
    return {
        "http_endpoint": f"http://{sockets.reachable_address(settings.http)}",
        "https_endpoint": f"https://{sockets.reachable_address(settings.https)}",
        "ca_file": str(certificates.authority),
    }


def write_json(path: Path, facts: dict[str, Any]) -> None:
    """Write a file that only its owner can read."""
    write_file(path, json.dumps(facts, indent=2).encode() + b"\n")
