"""Commands that an account saves, to be invoked later."""

from backfleet.assistant import _store
from backfleet.assistant.model import CommandFilter, QuotaExceeded, SavedCommand
from backfleet.paging import Listing, Page
from backfleet.storage import Transaction

MOST_COMMANDS = 500  # saved by one account


def save_command(tx: Transaction, command: SavedCommand) -> None:
    """Save a command.

    Raises:
        QuotaExceeded: the account has saved MOST_COMMANDS already.
    """
    if _store.count_commands(tx, command.account_id) >= MOST_COMMANDS:
        raise QuotaExceeded
    _store.add_command(tx, command)


def find_command(tx: Transaction, account_id: str, region: str, command_id: str) -> SavedCommand | None:
    """Return a saved command of the account; None if there is none of this id."""
    found = _store.commands_page(tx, account_id, region, CommandFilter(ids=[command_id]), Page(1, 1))
    return found.items[0] if found.items else None


def find_commands(
    tx: Transaction, account_id: str, region: str, wanted: CommandFilter, page: Page
) -> Listing[SavedCommand]:
    """Return one page of the account's saved commands, newest first."""
    return _store.commands_page(tx, account_id, region, wanted, page)


def change_command(tx: Transaction, changed: SavedCommand) -> None:
    """Write a saved command anew: name, description, content, timeout, folder. Earlier invocations stay as they are."""
    _store.update_command(tx, changed)


def delete_command(tx: Transaction, command_id: str) -> None:
    """Delete a saved command. Earlier invocations stay and go on, schedules too."""
    _store.delete_command(tx, command_id)
