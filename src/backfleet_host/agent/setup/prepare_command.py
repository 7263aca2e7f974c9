"""The command `backfleet-host prepare`: have this disk, or each of its copies, enrol at the first start."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Optional

from backfleet_host.agent.protocol.address import BadAddress, read_address
from backfleet_host.agent.setup import systemd_unit
from backfleet_host.agent.setup.enrolment_errors import CannotEnrol
from backfleet_host.agent.setup.first_start import prepare, write_activation
from backfleet_host.layout import Places

CODE_VARIABLE = "BACKFLEET_ACTIVATION_CODE"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    command.add_argument("--server", required=True, metavar="HOST:PORT")
    command.add_argument(
        "--ca", required=True, type=Path, metavar="FILE", help="the server's certificate authority, PEM"
    )
    command.add_argument("--name", default="", help="a name for people")
    command.add_argument(
        "--release-root", type=Path, metavar="FILE", help="trust releases by this root instead of the server's"
    )
    command.add_argument(
        "--activation-id",
        metavar="ID",
        help=f"with the code in {CODE_VARIABLE}; without it, put the file `activation` there before or after the start",
    )
    command.add_argument("--no-service", action="store_true", help="leave systemd alone: something else runs the agent")


def carry_out(options: argparse.Namespace) -> str:
    """Prepare the root and its unit; return what to say.

    Raises:
        CannotEnrol: the text says why; nothing is enabled.
    """
    try:
        address = read_address(options.server)
    except BadAddress as problem:
        raise CannotEnrol(str(problem)) from None
    places = Places(options.root.absolute())
    code = _code(options.activation_id)
    prepare(places, address, options.ca, name=options.name, release_root=options.release_root)
    if code is not None:
        write_activation(places, options.activation_id, code)
    if not options.no_service:
        name = systemd_unit.unit_name(places.root)
        try:
            systemd_unit.enable_unit(name, places.root)
        except systemd_unit.CannotServe as problem:
            raise CannotEnrol(str(problem)) from None
    then = "" if code is not None else f", once {places.activation} is there"
    return f"{places.root} enrols with {address} when its agent starts{then}; shut the machine down and copy its disk"


def _code(activation_id: Optional[str]) -> Optional[str]:
    code = os.environ.get(CODE_VARIABLE, "").strip()
    if bool(activation_id) != bool(code):
        raise CannotEnrol(f"--activation-id and the code in {CODE_VARIABLE} are given together, or neither")
    return code or None
