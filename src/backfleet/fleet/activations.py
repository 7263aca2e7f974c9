"""Activations: codes with which hosts enrol. A code is shown once; only its hash is stored."""

from datetime import datetime

from backfleet.fleet import _store
from backfleet.fleet.model import Activation, TagFilter, hash_code
from backfleet.ids import Draw, new_id
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction


def create_activation(
    tx: Transaction,
    *,
    account_id: str,
    region: str,
    count: int,
    hours: int,
    name: str,
    description: str,
    address_range: str,
    now: datetime,
    draw: Draw,
) -> tuple[Activation, str]:
    """Create an activation. Return it with its code, which cannot be read again.

    Args:
        tx: the transaction to write in.
        account_id: the account that the hosts will belong to.
        region: the region that the hosts will belong to.
        count: how many hosts may enrol.
        hours: how long they may enrol, from now.
        name: the first part of the names of hosts; "" names each by its host name.
        description: a text for people.
        address_range: the network that hosts must enrol from, such as 10.0.0.0/8; "" allows every address.
        now: the time of the call.
        draw: the source of random characters.
    """
    drawn = draw(32)
    activation_id = "-".join((drawn[:8], drawn[8:12], drawn[12:16], drawn[16:20], drawn[20:]))
    code = new_id("a", draw, 24)
    made = Activation(
        id=activation_id,
        account_id=account_id,
        region=region,
        instance_count=count,
        registered_count=0,
        deregistered_count=0,
        hours=hours,
        name=name,
        description=description,
        address_range=address_range,
        disabled=False,
        created_at=now,
        code_hash=hash_code(code),
    )
    _store.activations.add(tx, made)
    return made, code


def find_activations(
    tx: Transaction,
    account_id: str,
    region: str,
    *,
    activation_id: str | None,
    name: str | None,
    page: Page,
    tags: TagFilter = (),
) -> Listing[Activation]:
    """Return an account's activations, newest first."""
    return _store.activations.page_of(tx, account_id, region, activation_id, name, page, tags)


def activation(tx: Transaction, account_id: str, region: str, activation_id: str) -> Activation | None:
    """Return one activation of the account, locked against hosts that enrol with it."""
    found = _store.activations.find(tx, activation_id, lock=True)
    return found if found is not None and (found.account_id, found.region) == (account_id, region) else None


def disable_activation(tx: Transaction, activation_id: str) -> None:
    """Let nobody enrol with an activation any more. Hosts that have enrolled stay."""
    _store.activations.disable(tx, activation_id)


def delete_activation(tx: Transaction, activation_id: str) -> None:
    """Delete an activation and its tags."""
    _store.tags.drop(tx, "activation", [activation_id], None)
    _store.activations.drop(tx, activation_id)
