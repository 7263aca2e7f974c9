"""Rollouts of kind `install`: their members are clients on hosts that have none of the package.

A plan writes nothing: a host without a client stands in it under the id of its instance. Once the rollout is created,
each of them has a client, which is not installed.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from backfleet import fleet
from backfleet.fleet import Client, ClientStatus, Instance
from backfleet.ids import Draw
from backfleet.releases import STABLE
from backfleet.rollouts.model import Member
from backfleet.rollouts.policy import Kind, Policy
from backfleet.storage import Transaction

ALREADY_INSTALLED: Final = "AlreadyInstalled"
"""The code of an order that never left: the client had come to the host before."""

NO_WAY_BACK: Final = "an install has no version to go back to: remove clients with `backfleet client uninstall`"

MeantClient = tuple[Client, Instance, Mapping[str, str]]
"""A client, its instance, and the tags of both."""


def clients_meant(tx: Transaction, account_id: str, region: str, policy: Policy, *, now: datetime) -> list[MeantClient]:
    """Return the clients that a rollout of the policy's kind can be about, before its selector is asked.

    Most kinds are for what is installed, or may be. An install is for every host; those that have a client, installed
    or not, come with it.
    """
    known = fleet.clients_of_package(tx, account_id, region, policy.package)
    if policy.kind is Kind.INSTALL:
        return [*known, *_to_come(tx, account_id, region, policy, now)]
    if policy.kind is Kind.SETTINGS:
        return [each for each in known if each[0].is_installed]
    return [each for each in known if _may_be_there(each[0])]


def is_to_come(member: Member) -> bool:
    """Return whether a planned member has no client yet."""
    return member.client_id == member.instance_id


def with_clients(
    tx: Transaction,
    account_id: str,
    region: str,
    policy: Policy,
    members: Sequence[Member],
    *,
    now: datetime,
    draw: Draw,
) -> list[Member]:
    """Return planned members as clients; those that have none yet get one. Their places and rings stay."""
    lacking = [member.instance_id for member in members if is_to_come(member)]
    status = ClientStatus.NOT_INSTALLED
    made = fleet.ensure_clients(
        tx, account_id, region, lacking, policy.package, policy.channel or STABLE, status=status, now=now, draw=draw
    )
    return [
        member._replace(client_id=made[member.instance_id].id) if is_to_come(member) else member for member in members
    ]


def _to_come(tx: Transaction, account_id: str, region: str, policy: Policy, now: datetime) -> list[MeantClient]:
    return [
        (_client_to_come(instance, policy, now), instance, tags)
        for instance, tags in fleet.without_client(tx, account_id, region, policy.package)
    ]


def _client_to_come(on: Instance, policy: Policy, now: datetime) -> Client:
    return Client(
        id=on.id,
        account_id=on.account_id,
        region=on.region,
        instance_id=on.id,
        package=policy.package,
        version="",
        channel=policy.channel or STABLE,
        status=ClientStatus.NOT_INSTALLED,
        created_at=now,
        updated_at=now,
        checked_at=now,
    )


def _may_be_there(client: Client) -> bool:
    return client.is_installed or client.in_doubt or client.status is ClientStatus.INSTALLING
