"""The command line: an API client like any other, and the command that serves.

Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 done in part, 4 finished before it could be cancelled, 130 Ctrl-C.
"""

import importlib
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import click

from backfleet import VERSION
from backfleet.cli._options import report_error

__all__ = ["main"]

INTERRUPTED = 130
_COMMANDS: Final = {
    "account": "_identity", "activation": "_activations", "audit": "_audit", "backup": "_backup",
    "calendar": "_calendars", "call": "_calls", "client": "_clients", "completion": "_completion",
    "configure": "_configure", "console": "_console", "doctor": "_doctor",
    "ecs-account": "_ecs", "ecs-import": "_ecs", "instance": "_fleet", "key": "_identity",
    "minimum": "_minimums", "notify": "_notify",
    "policy": "_identity", "relay": "_relay", "release": "_releases", "restore": "_backup", "role": "_roles",
    "rollout": "_rollouts",
    "sample": "_calls", "serve": "_serve", "server": "_server",
    "ssh-key": "_importing", "ssm-account": "_ssm", "ssm-import": "_ssm",
    "task": "_tasks", "top": "_top", "user": "_identity",
}  # fmt: skip
"""The module of each command. It is imported when the command runs: few need what the server needs."""
_SUBCOMMANDS: Final = {
    "instance": (("_importing", ("import_hosts",)),),
    "client": (("_runs", ("runs",)), ("_pins", ("pin", "unpin", "pins")), ("_preparing", ("precheck", "stage"))),
    "policy": (("_permissions", ("test",)),),
    "release": (
        ("_version_schemes", ("scheme",)),
        ("_signing", ("keys", "pending", "sign", "publish", "forget_keys")),
    ),
}
"""Commands of groups that are in other modules than their group."""


class _Main(click.Group):
    """The group of all commands. Under --json also wrong arguments are reported as JSON."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; its module is imported now."""
        if cmd_name not in _COMMANDS:
            return None
        found = _load(_COMMANDS[cmd_name], cmd_name.replace("-", "_"))
        if isinstance(found, click.Group):
            for module, names in _SUBCOMMANDS.get(cmd_name, ()):
                for name in names:
                    found.add_command(_load(module, name))
        return found

    def main(self, args: Sequence[str] | None = None, *_more: Any, **named: Any) -> NoReturn:
        """Run a command and exit."""
        given = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(given, **{**named, "standalone_mode": False})
        except click.ClickException as problem:
            _report(problem, given)
            sys.exit(problem.exit_code)
        except click.Abort as problem:
            click.echo("Aborted!", err=True)
            sys.exit(INTERRUPTED if isinstance(problem.__cause__, KeyboardInterrupt) else 1)
        sys.exit(code if isinstance(code, int) else 0)


def _report(problem: click.ClickException, given: Sequence[str]) -> None:
    """Report why a command line was refused, with what may have been meant."""
    if isinstance(problem, click.UsageError):
        from backfleet.cli._hints import hint_for, without_hint  # late: only what is wrong needs it

        hint = hint_for(problem, given)
        problem = click.UsageError(f"{without_hint(problem.format_message())} {hint}", problem.ctx) if hint else problem
    if "--json" in given:
        report_error(problem.format_message(), "", is_json=True)
    else:
        problem.show()


def _load(module: str, name: str) -> click.Command:
    found: click.Command = getattr(importlib.import_module(f"backfleet.cli.{module}"), name)
    return found


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="backfleet")
def main() -> None:
    """Upgrade the backup clients of a fleet without losing a backup."""
