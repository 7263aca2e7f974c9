"""Options that every command of an API client takes, and how its failures are told."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from backfleet.cli._client import CallFailed, Client
from backfleet.cli._credentials import Asked, NoConnection, connect
from backfleet.cli._print import print_table
from backfleet.clock import utc_now

Command = Callable[..., Any]


def calls_the_api(command: Command) -> Any:
    """Give a command --endpoint, --profile, --ca and --data, and a Client as its first argument.

    A refusal is one line on stderr with code and RequestId, and exit code 1.
    """

    @click.option("--endpoint", metavar="HOST:PORT", help="The server; default: the one of the local data folder.")
    @click.option("--profile", metavar="NAME", help="A profile of the aliyun command's configuration file.")
    @click.option("--ca", type=click.Path(path_type=Path), help="The authority that signed the server's certificate.")
    @click.option("--data", type=click.Path(path_type=Path), help="The local data folder.")
    @functools.wraps(command)
    def with_client(
        *words: Any, endpoint: str | None, profile: str | None, ca: Path | None, data: Path | None, **named: Any
    ) -> None:
        try:
            command(Client(connect(Asked(endpoint, profile, data, ca)), utc_now), *words, **named)
        except NoConnection as problem:
            fail(str(problem))
        except CallFailed as problem:
            _tell(problem)

    return with_client


def json_option(command: Any) -> Any:
    """Give a command --json, as the argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(command)


def fail(message: str) -> NoReturn:
    """Say what went wrong in one line and leave with exit code 1."""
    click.echo(f"backfleet: {message}", err=True)
    raise SystemExit(1)


def _tell(problem: CallFailed) -> NoReturn:
    unfit = [s for s in problem.answer.get("InstanceStatuses") or [] if isinstance(s, dict)]
    if unfit:
        print_table(("INSTANCE", "CODE"), [(s.get("InstanceId"), s.get("ErrorCode")) for s in unfit])
    code, request = problem.answer.get("Code", ""), problem.answer.get("RequestId", "")
    fail(f"{f'{code}: ' if code else ''}{problem.message}{f' (RequestId {request})' if request else ''}")
