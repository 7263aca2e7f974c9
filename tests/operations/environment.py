"""An environment for tests: services with hosts, clients and releases, and callers who ask as the endpoint does."""

import hashlib
import itertools
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from backfleet import fleet, identity, releases, upgrades
from backfleet.fleet._tables import clients as clients_table
from backfleet.fleet._tables import instances as instances_table
from backfleet.identity._tables import accounts
from backfleet.ids import draw as real_draw
from backfleet.operations import perform
from backfleet.operations.catalogue import Call, Services, find
from backfleet.paging import Page
from backfleet.settings import Settings
from backfleet.storage import Database
from backfleet.wire import answers
from backfleet.wire.errors import ApiError
from backfleet.wire.shapes import misfits
from made_keys import open_keys

OTHER = "9999999999999999"
REGION = "cn-hangzhou"
PLATFORM = "linux-amd64"


@cache
def public_key() -> str:
    """Return a key for all hosts: making one takes time."""
    key = rsa.generate_private_key(65537, 2048).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


@dataclass
class Environment:
    """Services with data in them, and the moment at which everything happens."""

    services: Services
    folder: Path
    now: datetime
    root: identity.Caller
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    # --- Asking -------------------------------------------------------------------------------------------------

    def ask(
        self, version: str, action: str, caller: identity.Caller | None = None, **fields: Any
    ) -> tuple[int, dict[str, Any]]:
        """Return status and JSON of an answer or an error. Lists and objects travel as JSON text, as from the SDKs."""
        flat = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
        request_id = f"R-{real_draw(20)}"
        call = Call(request_id, caller or self.root, REGION, self.now, "10.0.0.7", True, self.services)
        operation = find(version, action)
        try:
            answer = perform.run(perform.admit(operation, call, flat, "LTAItest"), call)
            sent = answers.success(action, answer, request_id, xml=False)
        except ApiError as problem:
            sent = answers.failure(problem, request_id, "localhost", xml=False)
        body: dict[str, Any] = json.loads(sent.body)
        assert body.pop("RequestId") == request_id
        if sent.status == 200:
            assert list(misfits(operation.answer, body, action)) == []
        return sent.status, body

    @property
    def other_account(self) -> identity.Caller:
        """The root of another account."""
        return identity.Caller(OTHER, "Account", f"acs:ram::{OTHER}:root", OTHER)

    def user(self, name: str, *policies: str) -> identity.Caller:
        """Make a user with these policies of the system."""
        account, services = self.root.account_id, self.services
        with services.database.transaction() as tx:
            identity.create_user(tx, account, name, now=self.now, draw=services.draw)
            for policy in policies:
                identity.attach_policy(tx, account, name, policy, "System", now=self.now)
            key = identity.create_key(tx, services.vault, account, name, now=self.now, draw=services.draw)
            known = identity.find_key(tx, services.vault, key.access_key_id)
        assert known is not None
        return known.caller

    def user_with(self, name: str, *statements: dict[str, Any]) -> identity.Caller:
        """Make a user with a policy of these statements, which is called `<name>-policy`."""
        caller, account = self.user(name), self.root.account_id
        text = json.dumps({"Version": "1", "Statement": list(statements)})
        with self.services.database.transaction() as tx:
            identity.create_policy(tx, account, f"{name}-policy", text, description="", now=self.now)
            identity.attach_policy(tx, account, name, f"{name}-policy", "Custom", now=self.now)
        return caller

    # --- Hosts and clients --------------------------------------------------------------------------------------

    def host(
        self,
        *,
        account: str = "",
        region: str = REGION,
        platform: str = PLATFORM,
        agent: str = "backfleet-0.1.0",
        stopped: bool = False,
        silent: bool = False,
        name: str = "",
    ) -> str:
        """Enrol a host with a heartbeat at this moment, unless it is `silent` or `stopped`; return its id."""
        draw, number = self.services.draw, next(self.numbers)
        with self.services.database.transaction() as tx:
            activation, code = fleet.create_activation(
                tx, account_id=account or self.root.account_id, region=region, count=1, hours=1, name="",
                description="", address_range="", now=self.now, draw=draw,
            )  # fmt: skip
            asked = fleet.Registration(
                activation_id=activation.id, code=code, machine_id=f"{number:032d}", instance_name=name,
                hostname=f"web-{number}", intranet_ip=f"10.0.0.{number + 1}", os_type="linux",
                os_version="Linux_x86_64",
                agent_version=agent, agent_mode="restricted", platform=platform, public_key=public_key(),
            )  # fmt: skip
            made = fleet.register(tx, asked, source_ip="203.0.113.9", now=self.now, draw=draw)
            heard_at = self.now - timedelta(days=1) if silent else self.now
            tx.run(
                sa.update(instances_table)
                .where(instances_table.c.id == made.id)
                .values(last_heard_at=heard_at, reachable_at=heard_at)
            )
            if stopped:
                fleet.note_shutdown(tx, made.id, now=self.now)
        return made.id

    def heartbeat(self, instance_id: str) -> None:
        """Record a ping of the host's socket at this moment."""
        with self.services.database.transaction() as tx:
            fleet.note_heartbeats(tx, [fleet.Heartbeat(instance_id, self.now, reachable_at=self.now)])

    def deaf_host(self, *, dials_in: float | None) -> str:
        """Enrol a host whose official agent sends heartbeats and has no socket; return its id.

        Args:
            dials_in: seconds until it connects again by itself; None if the server cannot know.
        """
        made = self.host(agent="2.2.3.578", silent=True)
        day = timedelta(days=1)
        started = None if dials_in is None else self.now - timedelta(seconds=1800 + 15 - dials_in)
        with self.services.database.transaction() as tx:
            fleet.note_heartbeats(tx, [fleet.Heartbeat(made, self.now, agent_started_at=started)])
            enrolled = sa.update(instances_table).where(instances_table.c.id == made)
            tx.run(enrolled.values(registered_at=self.now - day))
        return made

    def client(
        self,
        instance_id: str,
        version: str = "1.0",
        *,
        package: str = "courier",
        channel: str = "stable",
        pin: str | None = None,
        status: fleet.ClientStatus = fleet.ClientStatus.ACTIVATED,
        account: str = "",
    ) -> str:
        """Make a client on a host, pinned to `pin` for a day ("" = to its version); return its id."""
        with self.services.database.transaction() as tx:
            on = fleet.instance(tx, account or self.root.account_id, instance_id)
            assert on is not None
            made = fleet.ensure_client(tx, on, package, channel, status=status, now=self.now, draw=self.services.draw)
            known = sa.update(clients_table).where(clients_table.c.id == made.id)
            tx.run(known.values(version=version))
            if pin is not None:
                until = self.now + timedelta(days=1)
                at = (on.account_id, REGION, fleet.PinKind.INSTANCE, instance_id, "", package)
                fleet.put_pin(tx, fleet.Pin(*at, pin, "year's end", self.root.arn, self.now, until))
        return made.id

    def host_with_client(self, version: str = "1.0", **client: Any) -> tuple[str, str]:
        """Make a host with a client; return both ids."""
        instance_id = self.host()
        return instance_id, self.client(instance_id, version, **client)

    # --- Releases -----------------------------------------------------------------------------------------------

    def release(
        self,
        version: str,
        *,
        package: str = "courier",
        platform: str = PLATFORM,
        channel: str = "stable",
        upgrades_from: str = "",
        readable_by: str = "",
        withdrawn: bool = False,
    ) -> None:
        """Add a version that hosts may move to."""
        file = self.folder / f"{package}-{version}"
        file.write_bytes(f"#!/bin/sh\necho {version}\n".encode())
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        prepared = releases.prepare(
            file, sha256, file.stat().st_size, package=package, version=version, platform=platform, form="binary",
            file_name=file.name, given={"upgrades_from": upgrades_from, "readable_by": readable_by},
        )  # fmt: skip
        with self.services.database.transaction() as tx:
            releases.add(tx, self.services.repository, prepared, channel=channel, now=self.now)
            if withdrawn:
                releases.withdraw(tx, self.services.repository, package, version, platform, now=self.now)

    # --- What became of it --------------------------------------------------------------------------------------

    def tasks(self) -> int:
        """Return the number of tasks of the account."""
        with self.services.database.reading() as tx:
            return upgrades.find(tx, self.root.account_id, Page(1, 50)).total


def make_environment(database: Database, folder: Path, now: datetime, draw: Any) -> Environment:
    """Return services without any data but their first account."""
    services = Services(database, Settings(data=folder), *open_keys(folder), draw)
    with database.transaction() as tx:
        releases.refresh(tx, services.repository, now=now)
        made = identity.first_account(tx, services.vault, now=now, draw=draw)
        assert made is not None
        tx.add(accounts, [{"id": OTHER, "created_at": now}])
    root = identity.Caller(made.account_id, "Account", f"acs:ram::{made.account_id}:root", made.account_id)
    return Environment(services, folder, now, root)
