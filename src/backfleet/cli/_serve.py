"""backfleet serve: run the control plane."""

import gc
import json
import os
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import click

from backfleet import process_group, sockets, supervisor
from backfleet.allocator import share_arenas
from backfleet.cli._options import fail
from backfleet.clock import shifted, utc_now
from backfleet.data_lock import NotOneInstallation, hold_data_folder, why_in_use
from backfleet.ids import draw
from backfleet.logs import log_to_stderr
from backfleet.settings import DEFAULT_HTTP, DEFAULT_HTTPS, PARTS, BadSetting, Settings, read_settings
from backfleet_host.files import make_folder

YOUNG_OBJECTS = 10_000  # made and not gone, until garbage is looked for among them; 700 is Python's default


@click.command()
@click.option("--data", metavar="DIR", type=click.Path(path_type=Path), help="Folder of everything the server stores.")
@click.option(
    "--http", metavar="HOST:PORT", help=f"Listener of the API. Default {DEFAULT_HTTP}. Port 0 picks a free one."
)
@click.option("--https", metavar="HOST:PORT", help=f"Listener of API, agents and downloads. Default {DEFAULT_HTTPS}.")
@click.option("--database-url", metavar="URL", help="postgresql://... Default: SQLite in DIR.")
@click.option("--nats", metavar="URL", help="nats://... carries notifications between several processes.")
@click.option("--public-host", metavar="NAME", help="A further name or address by which hosts reach this server.")
@click.option("--console-https", is_flag=True, default=None, help="Serve the console on the https listener too.")
@click.option("--only", metavar="PARTS", help=f"Serve some parts only: {','.join(PARTS)}.")
@click.option(
    "--processes",
    metavar="N",
    help="Answer calls in N processes; auto = one for each core. Default 1; more is new and not measured yet.",
)
@click.option("--log-level", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False))
@click.option("--print-config", is_flag=True, help="Print the settings in force and the source of each, and exit.")
def serve(print_config: bool, **flags: object) -> None:
    """Run the control plane. The first start creates everything that it needs in DIR."""
    try:
        settings = read_settings(flags)
    except BadSetting as problem:
        fail(str(problem))
    if print_config:
        _print_settings(settings)
        return
    log_to_stderr(settings.log_level)
    if settings.processes > 1 and not process_group.is_member():
        raise SystemExit(_supervise_group(settings))
    if settings.processes == 1 and settings.hold_listeners and supervisor.is_needed():
        raise SystemExit(supervisor.supervise(_listeners(settings)))
    share_arenas()
    run = _program()
    from backfleet.opening import CannotStart
    from backfleet.threads import share_interpreter

    share_interpreter()
    clock = shifted(utc_now, os.environ.get("BACKFLEET_CLOCK_SHIFT", ""))
    try:
        run(settings, clock=clock, draw=draw, announce=click.echo)
    except CannotStart as problem:
        fail(str(problem))


def _program() -> Callable[..., None]:
    """Import what serves, late: other commands need none of it.

    All of it lives as long as the process, so no collection of garbage need look at it, neither now nor later. What a
    request makes is gone before the next collection, if that is not after every few requests.
    """
    gc.disable()
    try:
        from backfleet.app import serve as run
    finally:
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS)
        gc.enable()
    return run


def _listeners(settings: Settings) -> dict[str, socket.socket]:
    """Return the listeners: those that systemd holds, and the others bound here."""
    given = sockets.inherited_sockets() if settings.processes > 1 else {}
    try:
        return {name: given.get(name) or sockets.bind(name, getattr(settings, name)) for name in ("http", "https")}
    except sockets.CannotListen as problem:
        fail(why_in_use(settings) or str(problem))  # a second server in one folder: another port would not help


def _supervise_group(settings: Settings) -> int:
    if not settings.hold_listeners or not process_group.is_possible():
        fail("--processes above 1 needs Linux and hold_listeners = true: a parent hands its listeners to the processes")
    listeners = _listeners(settings)
    try:
        make_folder(settings.data)
        held = hold_data_folder(settings)
    except (NotOneInstallation, OSError) as problem:
        fail(str(problem) if isinstance(problem, NotOneInstallation) else f"{settings.data}: {problem}; see --data")
    try:
        return process_group.supervise_group(listeners, settings.processes, sys.orig_argv)
    finally:
        if held is not None:
            os.close(held)


def _print_settings(settings: Settings) -> None:
    shown = {
        name: {"value": _plain(getattr(settings, name), name), "from": origin}
        for name, origin in settings.origin.items()
    }
    click.echo(json.dumps(shown, indent=2))


def _plain(value: object, name: str) -> object:
    if name == "database_url" and value:
        from sqlalchemy import make_url

        return make_url(str(value)).render_as_string(hide_password=True)
    if name == "nats":
        return re.sub(r"//[^@/,]*@", "//***@", str(value))
    return list(value) if isinstance(value, tuple) else value if isinstance(value, int | bool) else str(value)
