"""Options of every command that calls the API, and how failures are reported."""

import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from backfleet.cli._client import CallFailed, Client
from backfleet.cli._credentials import ConnectionFlags, NoConnection, connect
from backfleet.cli._print import print_json, say, wants_json
from backfleet.cli._tables import print_table
from backfleet.clock import utc_now

FAILED: Final = 1
PARTLY: Final = 3
"""Some of several calls started a task, and another was refused."""
LARGEST_TEXT: Final = 4 * 1024**2  # bytes of a file that is sent; nothing that the server takes is larger
FINISHED_BEFORE: Final = 4
"""What was to be cancelled was over already."""

Command = Callable[..., Any]
Done = tuple[Mapping[str, Any], str]
"""What a verb that changes something returns: the server's answer, and a sentence for people."""


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
    @click.option("--profile", metavar="NAME", help="A profile of `backfleet configure`, or of the aliyun command.")
    @click.option(
        "--ca", type=click.Path(path_type=Path), help="Certificate of the authority that signed the server's."
    )
    @click.option("--data", type=click.Path(path_type=Path), help="The local data folder.")
    @functools.wraps(command)
    def with_client(
        *arguments: Any, endpoint: str | None, profile: str | None, ca: Path | None, data: Path | None, **named: Any
    ) -> Any:
        try:
            return command(Client(connect(ConnectionFlags(endpoint, profile, data, ca)), utc_now), *arguments, **named)
        except NoConnection as problem:
            fail(str(problem))
        except CallFailed as problem:
            _fail_of_call(problem)

    return with_client


def prints_the_answer(command: Command) -> Any:
    """Give a command that returns `Done` the option --json: its answer is printed, else the sentence.

    It stands above `calls_the_api`.
    """

    @json_option
    @functools.wraps(command)
    def printing(*arguments: Any, as_json: bool, **named: Any) -> None:
        answer, text = command(*arguments, **named)
        if as_json:
            print_json({name: value for name, value in answer.items() if name != "RequestId"})
        else:
            say(text)

    return printing


def json_option(command: Any) -> Any:
    """Give a command --json, as the argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(command)


def fail(message: str, *, code: str = "", exit_code: int = FAILED, **more: object) -> NoReturn:
    """Report an error on stderr and exit: in one line, or under --json as a JSON object.

    Args:
        message: what is wrong, what was found, what to do.
        code: of the API, if it is its error.
        exit_code: of this program.
        more: what a program may want to know, by names that begin in lower case.
    """
    report_error(message, code, wants_json(), **more)
    raise SystemExit(exit_code)


def report_error(message: str, code: str, is_json: bool, **more: object) -> None:
    """Print an error on stderr, in one line or as JSON."""
    if is_json:
        details = {f"{name[:1].upper()}{name[1:]}": value for name, value in more.items() if value}
        print_json({"Error": {"Code": code, "Message": message, **details}}, err=True)
        return
    request = more.get("requestId")
    say(f"backfleet: {f'{code}: ' if code else ''}{message}{f' (RequestId {request})' if request else ''}", err=True)


def _fail_of_call(problem: CallFailed) -> NoReturn:
    found = [status for status in problem.answer.get("InstanceStatuses") or [] if isinstance(status, dict)]
    if found and not wants_json():
        print_table(("INSTANCE", "CODE"), [(each.get("InstanceId"), each.get("ErrorCode")) for each in found])
    fail(
        problem.message,
        code=str(problem.answer.get("Code", "")),
        requestId=problem.answer.get("RequestId", ""),
        instanceStatuses=found,
    )


def read_text(file: Path, what: str = "") -> str:
    """Return the text of a file that the caller named.

    Args:
        file: the file.
        what: what it is to hold, for people; "" if it may be empty.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST_TEXT + 1)
        if len(content) > LARGEST_TEXT:
            fail(f"{file} has more than {LARGEST_TEXT // 1024**2} MiB; is it the file that you meant?")
        text = content.decode().replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as problem:
        fail(f"{file} cannot be read as UTF-8 text: {problem}")
    if what and not text.strip():
        fail(f"{file} is empty; give a file with {what}")
    return text


def print_faults(faults: list[dict[str, Any]], file: Path) -> None:
    """Print every fault of a file, as compilers do; nothing under --json, where the answer or the error has them."""
    for fault in [] if wants_json() else faults:
        line = f":{fault['Line']}" if fault["Line"] else ""
        say(f"{file}{line}: {fault['Key']}: found {fault['Found']}; {fault['Wanted']}", err=True)
