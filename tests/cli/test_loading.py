"""A command starts fast: it imports what it needs, and not what the server needs."""

import subprocess
import sys

import click
import pytest

from backfleet.cli import main

HEAVY = {"sqlalchemy", "alembic", "aiohttp", "tuf", "backfleet.storage", "backfleet.rollouts"}


@pytest.mark.parametrize("command", ["client", "release", "rollout"])
def test_a_call_of_the_api_imports_no_part_of_the_server(command: str) -> None:
    """That would cost two seconds of processor time each time."""
    program = (
        "import sys, click; from backfleet.cli import main; "
        f"main.get_command(click.Context(main), {command!r}); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert HEAVY & set(done.stdout.split()) == set()


def test_the_list_of_all_commands_imports_no_part_of_the_server() -> None:
    """A shell that completes the word asks for it at each key."""
    program = "import sys; from backfleet.cli import main\ntry: main(['--help'])\nfinally: print(*sys.modules)\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "Commands:" in done.stdout
    assert HEAVY & set(done.stdout.splitlines()[-1].split()) == set()


def test_every_command_is_there() -> None:
    """Each name is that of a command, and has a sentence of help; so have those of groups."""
    context = click.Context(main)
    for name in main.list_commands(context):
        found = main.get_command(context, name)
        assert found is not None
        assert found.name == name
        below = (
            [found.get_command(context, each) for each in found.list_commands(context)]
            if isinstance(found, click.Group)
            else []
        )
        assert all(each is not None and each.get_short_help_str() for each in [found, *below])
