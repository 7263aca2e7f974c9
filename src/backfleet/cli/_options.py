"""Options of every command that calls the API, and how failures are reported."""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from backfleet.cli._client import CallFailed, Client
from backfleet.cli._credentials import ConnectionFlags, NoConnection, connect
from backfleet.cli._print import print_table, say
from backfleet.clock import utc_now

Command = Callable[..., Any]


class WholeNumber(click.IntRange):
    """A whole number in ASCII digits; int() alone takes those of every script, and underscores."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return it as an int. Raises BadParameter."""
        if isinstance(value, str) and not re.fullmatch(r"[+-]?[0-9]{1,19}", value):
            self.fail(f"{value!r} is no whole number in the digits 0 to 9", param, ctx)
        return super().convert(value, param, ctx)


def calls_the_api(command: Command) -> Any:
    """Give a command the options --endpoint, --profile, --ca and --data, and a Client as its first argument.

    A failed call ends it with exit code 1 and one line on stderr, with code and RequestId.
    """

    @click.option("--endpoint", metavar="HOST:PORT", help="The server. Default: that of the local data folder.")
    @click.option("--profile", metavar="NAME", help="A profile in the aliyun command's configuration file.")
    @click.option(
        "--ca", type=click.Path(path_type=Path), help="Certificate of the authority that signed the server's."
    )
    @click.option("--data", type=click.Path(path_type=Path), help="The local data folder.")
    @functools.wraps(command)
    def with_client(
        *arguments: Any, endpoint: str | None, profile: str | None, ca: Path | None, data: Path | None, **named: Any
    ) -> None:
        try:
            command(Client(connect(ConnectionFlags(endpoint, profile, data, ca)), utc_now), *arguments, **named)
        except NoConnection as problem:
            fail(str(problem))
        except CallFailed as problem:
            _fail_of_call(problem)

    return with_client


def json_option(command: Any) -> Any:
    """Give a command --json, as the argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(command)


def fail(message: str) -> NoReturn:
    """Report an error in one line on stderr and exit with code 1."""
    say(f"backfleet: {message}", err=True)
    raise SystemExit(1)


def _fail_of_call(problem: CallFailed) -> NoReturn:
    unreachable = [s for s in problem.answer.get("InstanceStatuses") or [] if isinstance(s, dict)]
    if unreachable:
        print_table(("INSTANCE", "CODE"), [(s.get("InstanceId"), s.get("ErrorCode")) for s in unreachable])
    code, request = problem.answer.get("Code", ""), problem.answer.get("RequestId", "")
    fail(f"{f'{code}: ' if code else ''}{problem.message}{f' (RequestId {request})' if request else ''}")


def read_text(file: Path) -> str:
    """Return the text of a file that the caller named."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        fail(f"{file} cannot be read as UTF-8 text: {problem}")


def print_faults(faults: list[dict[str, Any]], file: Path) -> None:
    """Print every fault of a file that was refused, as compilers do."""
    for fault in faults:
        line = f":{fault['Line']}" if fault["Line"] else ""
        say(f"{file}{line}: {fault['Key']}: found {fault['Found']}; {fault['Wanted']}", err=True)
