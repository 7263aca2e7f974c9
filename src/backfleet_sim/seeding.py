"""Write what a simulation needs straight into a server's tables: a release, activations, clients that are installed."""

import hashlib
from collections.abc import Sequence

from backfleet import fleet, releases
from backfleet.clock import utc_now
from backfleet.fleet import Change, ClientStatus
from backfleet.ids import draw
from backfleet.operations.catalogue import Services

PACKAGE, OLD, NEW = "courier", "1.0", "2.0"
PER_ACTIVATION = 1000  # hosts: what one activation may be for
_PER_TRANSACTION = 200


def offer_release(services: Services, version: str = NEW) -> None:
    """Offer a version of the small client."""
    artifact = services.settings.data / "courier"
    artifact.write_text(f"#!/bin/sh\n# {version}\n")
    digest = hashlib.sha256(artifact.read_bytes()).hexdigest()
    prepared = releases.prepare(
        artifact, digest, artifact.stat().st_size, package=PACKAGE, version=version, platform="linux-amd64",
        form="binary", file_name="courier", given=None,
    )  # fmt: skip
    releases.keep_artifact(services.repository, artifact, prepared.sha256)
    with services.database.transaction() as tx:
        releases.add(tx, services.repository, prepared, channel="stable", now=utc_now())


def make_activations(services: Services, account: str, hosts: int) -> list[tuple[str, str]]:
    """Return id and code of enough activations for so many hosts, each for `PER_ACTIVATION`."""
    made = []
    with services.database.transaction() as tx:
        for _ in range(0, hosts, PER_ACTIVATION):
            activation, code = fleet.create_activation(
                tx, account_id=account, region=services.settings.region, count=PER_ACTIVATION, hours=4, name="",
                description="", address_range="", now=utc_now(), draw=draw,
            )  # fmt: skip
            made.append((activation.id, code))
    return made


def give_clients(services: Services, account: str, instance_ids: Sequence[str]) -> None:
    """Record that version `OLD` of the small client is installed on these instances.

    Raises:
        LookupError: one of them does not exist.
    """
    for start in range(0, len(instance_ids), _PER_TRANSACTION):
        with services.database.transaction() as tx:
            for instance_id in instance_ids[start : start + _PER_TRANSACTION]:
                instance = fleet.instance(tx, account, instance_id)
                if instance is None:
                    raise LookupError(f"account {account} has no instance {instance_id}")
                client = fleet.ensure_client(
                    tx, instance, PACKAGE, "stable", status=ClientStatus.ACTIVATED, now=utc_now(), draw=draw
                )
                fleet.set_clients(tx, [Change(client.id, version=OLD)], now=utc_now())
