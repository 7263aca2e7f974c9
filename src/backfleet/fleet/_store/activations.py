"""Activations."""

from dataclasses import fields
from typing import Any, Final

import sqlalchemy as sa

from backfleet.fleet._store.tags import has_tags
from backfleet.fleet._tables import activations
from backfleet.fleet.model import Activation, TagFilter
from backfleet.paging import Listing, Page
from backfleet.storage import Prepared, Transaction, list_part

# Prepared: each host that enrols needs them.
_OF: Final = activations.c.id == sa.bindparam("of")
_FOUND: Final = Prepared(sa.select(activations).where(_OF))
_LOCKED: Final = Prepared(sa.select(activations).where(_OF).with_for_update())
_REGISTERED: Final = Prepared(
    sa.update(activations).where(_OF).values(registered_count=activations.c.registered_count + 1)
)


def add(tx: Transaction, activation: Activation) -> None:
    """Add a new activation."""
    tx.add(activations, [{field.name: getattr(activation, field.name) for field in fields(activation)}])


def find(tx: Transaction, activation_id: str, *, lock: bool) -> Activation | None:
    """Return an activation of any account. `lock` makes other enrolments with it wait."""
    row = tx.first(_LOCKED if lock else _FOUND, {"of": activation_id})
    return None if row is None else _activation(row)


def count_registered(tx: Transaction, activation_id: str) -> None:
    """Count one more enrolled host. The table refuses one too many."""
    tx.run(_REGISTERED, {"of": activation_id})


def give_back(tx: Transaction, activation_id: str, places: int) -> None:
    """Count fewer enrolled hosts: these never got their answer."""
    if places:
        fewer = activations.c.registered_count - places
        tx.run(sa.update(activations).where(activations.c.id == activation_id).values(registered_count=fewer))


def count_deregistered(tx: Transaction, activation_id: str) -> None:
    """Count one more deregistered host."""
    more = activations.c.deregistered_count + 1
    tx.run(sa.update(activations).where(activations.c.id == activation_id).values(deregistered_count=more))


def page_of(
    tx: Transaction,
    account_id: str,
    region: str,
    activation_id: str | None,
    name: str | None,
    page: Page,
    with_tags: TagFilter = (),
) -> Listing[Activation]:
    """Return an account's activations, newest first."""
    conditions = [activations.c.account_id == account_id, activations.c.region == region]
    if activation_id:
        conditions.append(activations.c.id == activation_id)
    if name:
        conditions.append(activations.c.name == name)
    conditions += has_tags("activation", activations.c.id, with_tags)
    keys = [(activations.c.created_at, True), (activations.c.id, False)]
    rows, ended = list_part(tx, sa.select(activations).where(*conditions), keys, page)
    total = tx.scalar(sa.select(sa.func.count()).select_from(activations).where(*conditions))
    return Listing([_activation(row) for row in rows], total, ended)


def disable(tx: Transaction, activation_id: str) -> None:
    """Let nobody enrol with an activation any more."""
    tx.run(sa.update(activations).where(activations.c.id == activation_id).values(disabled=True))


def drop(tx: Transaction, activation_id: str) -> None:
    """Delete an activation."""
    tx.run(sa.delete(activations).where(activations.c.id == activation_id))


def _activation(row: sa.Row[Any]) -> Activation:
    return Activation(**row._mapping)
