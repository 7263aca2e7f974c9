"""The command line: an API client like any other, and the command that serves.

Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 done in part, 4 finished before it could be cancelled, 130 Ctrl-C.
"""

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from backfleet import VERSION
from backfleet.cli._activations import activation
from backfleet.cli._audit import audit
from backfleet.cli._backup import backup, restore
from backfleet.cli._calendars import calendar
from backfleet.cli._calls import call, sample
from backfleet.cli._clients import client
from backfleet.cli._configure import configure
from backfleet.cli._console import console
from backfleet.cli._doctor import doctor
from backfleet.cli._fleet import instance
from backfleet.cli._identity import account, key, policy, user
from backfleet.cli._notify import notify
from backfleet.cli._options import report_error
from backfleet.cli._pins import pin, pins, unpin
from backfleet.cli._preparing import precheck, stage
from backfleet.cli._releases import release
from backfleet.cli._roles import role
from backfleet.cli._rollouts import rollout
from backfleet.cli._runs import runs
from backfleet.cli._serve import serve
from backfleet.cli._server import server
from backfleet.cli._signing import forget_keys, keys, pending, publish, sign
from backfleet.cli._tasks import task
from backfleet.cli._version_schemes import scheme

__all__ = ["main"]


INTERRUPTED = 130


class _Main(click.Group):
    """The group of all commands. Under --json also wrong arguments are reported as JSON."""

    def main(self, args: Sequence[str] | None = None, *_more: Any, **named: Any) -> NoReturn:
        """Run a command and exit."""
        given = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(given, **{**named, "standalone_mode": False})
        except click.ClickException as problem:
            if "--json" in given:
                report_error(problem.format_message(), "", is_json=True)
            else:
                problem.show()
            sys.exit(problem.exit_code)
        except click.Abort as problem:
            click.echo("Aborted!", err=True)
            sys.exit(INTERRUPTED if isinstance(problem.__cause__, KeyboardInterrupt) else 1)
        sys.exit(code if isinstance(code, int) else 0)


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="backfleet")
def main() -> None:
    """Upgrade the backup clients of a fleet without losing a backup."""


for _command in (
    serve, release, rollout, calendar, activation, instance, client, task, account, user, role, key, policy, audit,
    doctor, configure, server, backup, restore, console, call, notify,
    sample,
):  # fmt: skip
    main.add_command(_command)
for _command in (runs, pin, unpin, pins, precheck, stage):
    client.add_command(_command)
for _command in (scheme, keys, pending, sign, publish, forget_keys):
    release.add_command(_command)
