"""The SQL on saved commands."""

import json
from dataclasses import fields
from typing import Any

import sqlalchemy as sa

from backfleet import fleet
from backfleet.assistant._store.patterns import like
from backfleet.assistant._tables import commands
from backfleet.assistant.model import CommandFilter, SavedCommand
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction, list_part


def count_commands(tx: Transaction, account_id: str) -> int:
    """Return the number of commands that an account has saved."""
    in_account = commands.c.account_id == account_id
    return int(tx.scalar(sa.select(sa.func.count()).select_from(commands).where(in_account)))


def add_command(tx: Transaction, command: SavedCommand) -> None:
    """Add a command."""
    tx.add(commands, [_values(command)])


def update_command(tx: Transaction, changed: SavedCommand) -> None:
    """Write everything of a command that may change."""
    values = _values(changed)
    del values["id"], values["invoke_count"]
    tx.run(sa.update(commands).where(commands.c.id == changed.id).values(values))


def count_use(tx: Transaction, command_id: str) -> None:
    """Add one to the invocations of a command, if it is saved."""
    more = commands.c.invoke_count + 1
    tx.run(sa.update(commands).where(commands.c.id == command_id).values(invoke_count=more))


def delete_command(tx: Transaction, command_id: str) -> None:
    """Delete a command and its tags."""
    fleet.remove_tags(tx, "command", [command_id], None)
    tx.run(sa.delete(commands).where(commands.c.id == command_id))


def commands_page(
    tx: Transaction, account_id: str, region: str, wanted: CommandFilter, page: Page
) -> Listing[SavedCommand]:
    """Return one page of an account's commands, newest first."""
    conditions: list[sa.ColumnElement[bool]] = [commands.c.account_id == account_id, commands.c.region == region]
    if wanted.ids is not None:
        conditions.append(commands.c.id.in_(wanted.ids))
    if wanted.name is not None:
        conditions.append(like(commands.c.name, wanted.name))
    if wanted.description is not None:
        conditions.append(like(commands.c.description, wanted.description))
    if wanted.kind is not None:
        conditions.append(commands.c.kind == wanted.kind)
    conditions += fleet.has_tags("command", commands.c.id, wanted.tags)
    keys = [(commands.c.created_at, True), (commands.c.id, False)]
    rows, ended = list_part(tx, sa.select(commands).where(*conditions), keys, page)
    total = tx.scalar(sa.select(sa.func.count()).select_from(commands).where(*conditions))
    return Listing([_command(row) for row in rows], total, ended)


def _values(command: SavedCommand) -> dict[str, Any]:
    values = {field.name: getattr(command, field.name) for field in fields(command)}
    return values | {"parameter_names": json.dumps(command.parameter_names)}


def _command(row: sa.Row[Any]) -> SavedCommand:
    return SavedCommand(**{**row._mapping, "parameter_names": tuple(json.loads(row.parameter_names))})
