"""backfleet-host adopt, give-back: take over a client that is on this host already, and undo that."""

from __future__ import annotations

import argparse
import uuid
from pathlib import Path
from typing import List


class CannotAdopt(Exception):
    """It was not done, and the client runs as before; the text says why and what to do."""


def add_adopt_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `adopt`."""
    command.add_argument("client", metavar="NAME", help="the client, as the server calls it: restic")
    command.add_argument("--path", type=Path, metavar="FILE", help="its program; without it, it is looked for")
    command.add_argument("--version", default="", metavar="VERSION", help="if it is not the one that the program says")
    command.set_defaults(carry_out=adopt)


def add_give_back_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `give-back`."""
    command.add_argument("client", metavar="NAME")
    command.set_defaults(carry_out=give_back)


VERBS = (
    ("adopt", add_adopt_arguments, "take over a client that is here already, such as apt's restic, while backups run"),
    ("give-back", add_give_back_arguments, "remove a client that was taken over, and put back what was there before"),
)


def adopt(options: argparse.Namespace) -> List[str]:
    """Take a client over; return what was done as lines for people.

    Raises:
        CannotAdopt: it was not.
    """
    from backfleet_host import upgrader
    from backfleet_host.identity import NotEnrolled
    from backfleet_host.upgrader.errors import OrderFailed

    root, name = options.root.absolute(), options.client
    try:
        adoption = upgrader.adopt(upgrader.installation_at(root), name, options.path, options.version)
    except (NotEnrolled, OrderFailed) as problem:
        raise CannotAdopt(str(problem)) from None
    except OSError as problem:
        raise CannotAdopt(_disk_text(problem, root)) from None
    return [
        *(f"{place.path} leads to Backfleet; what was there is {place.aside}" for place in adoption.places),
        f"{name} {adoption.version} is taken over, and runs as before; the next order for it is an upgrade",
        f"the way back: backfleet-host give-back {name}",
    ]


def give_back(options: argparse.Namespace) -> List[str]:
    """Put back what was there before a client; return what was done as lines for people. Raises as `adopt`."""
    from backfleet_host import upgrader
    from backfleet_host.identity import NotEnrolled
    from backfleet_host.upgrader.errors import OrderFailed
    from backfleet_host.upgrader.leaving import InTheWay

    root, order_id = options.root.absolute(), f"give-back-{uuid.uuid4().hex}"
    try:
        paths = upgrader.give_back(upgrader.installation_at(root), options.client, order_id)
    except (NotEnrolled, InTheWay, OrderFailed) as problem:
        raise CannotAdopt(str(problem)) from None
    except OSError as problem:
        raise CannotAdopt(_disk_text(problem, root)) from None
    return [f"{path} is what was there before" for path in paths]


def _disk_text(problem: OSError, root: Path) -> str:
    return f"{problem.filename or root} cannot be changed: {problem.strerror or problem}; run as root, once more"
