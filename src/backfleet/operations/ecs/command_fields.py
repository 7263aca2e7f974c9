"""What requests about commands have in common: fields, contents, parameters, and commands as resources."""

import base64
import binascii
from typing import Any

from backfleet import assistant
from backfleet.assistant import SavedCommand
from backfleet.operations.catalogue import Call
from backfleet.operations.ecs import errors
from backfleet.operations.ecs.requests import TAG_ERRORS
from backfleet.storage import Transaction
from backfleet.wire.parameters import integer, text

KINDS = ("RunShellScript", "RunBatScript", "RunPowerShellScript")
LONGEST_ENCODED = 24 * 1024  # characters of a command's content in base64
LONGEST_SENT = LONGEST_ENCODED // 4 * 3  # bytes of the same content decoded, which is what a host takes
LEAST_SECONDS, MOST_SECONDS = 10, 86_400
PLAIN, BASE64 = "plaintext", "base64"

CONTENT_ERRORS = (
    errors.ContentTooLong,
    errors.ContentUndecodable,
    errors.ParameterNameEmpty,
    errors.ParameterNameRefused,
    errors.ParameterNameTooLong,
    errors.TooManyParameters,
)
COMMAND_ERRORS = (
    errors.CommandTypeNotFound,
    errors.CommandNameTooLong,
    errors.CommandDescriptionTooLong,
    errors.TimeoutExceeded,
    errors.WorkingDirRefused,
    errors.LauncherRefused,
    errors.BadClientToken,
    errors.IdempotentMismatch,
    *CONTENT_ERRORS,
    *TAG_ERRORS,
)


# --- Fields ---------------------------------------------------------------------------------------------------------


def kind() -> Any:
    """Return the field of the kind of script that the content is."""
    return text("Type", required=True, choices=KINDS, refusal=errors.CommandTypeNotFound)


def name(*, required: bool = False) -> Any:
    """Return the field of a command's name."""
    return text("Name", required=required, longest=128, refusal=errors.CommandNameTooLong)


def description() -> Any:
    """Return the field of a command's description."""
    return text("Description", longest=512, refusal=errors.CommandDescriptionTooLong, lines=True)


def content_encoding() -> Any:
    """Return the field of the encoding of a content: PlainText or Base64."""
    return text("ContentEncoding", longest=32)


def timeout() -> Any:
    """Return the field of a timeout in seconds; below ten counts as ten."""
    return integer("Timeout", least=1, most=MOST_SECONDS, refusal=errors.TimeoutExceeded)


def working_dir() -> Any:
    """Return the field of the directory in which a command runs."""
    return text("WorkingDir", longest=200, refusal=errors.WorkingDirRefused)


def launcher() -> Any:
    """Return the field of a launcher, which is not offered: a first line `#!` does the same on every agent."""
    return text("Launcher", choices=("",), refusal=errors.LauncherRefused)


def timeout_seconds(asked: int | None, default: int = 60) -> int:
    """Return the timeout that a command gets."""
    return default if asked is None else max(asked, LEAST_SECONDS)


# --- Contents -------------------------------------------------------------------------------------------------------


def read_content(content: str, encoding: str | None, default_encoding: str) -> str:
    """Return the script in a request. An unknown encoding counts as the operation's default.

    Raises:
        ContentTooLong: it is longer than a host takes.
        ContentUndecodable: it is not base64, or not text.
    """
    given = (encoding or "").lower()
    if (given if given in (PLAIN, BASE64) else default_encoding) == PLAIN:
        if len(content.encode()) > LONGEST_SENT:
            raise errors.ContentTooLong
        return content
    if len(content) > LONGEST_ENCODED:
        raise errors.ContentTooLong
    try:
        found = base64.b64decode(content, validate=True).decode()
    except (binascii.Error, ValueError):
        raise errors.ContentUndecodable from None
    if "\0" in found:
        raise errors.ContentUndecodable
    return found


def encoded(content: str | bytes, encoding: str | None) -> str:
    """Return a content or an output as lists show it: in base64 unless plain text is asked for."""
    raw = content.encode() if isinstance(content, str) else content
    if (encoding or "").lower() == PLAIN:
        return raw.decode(errors="replace")
    return base64.b64encode(raw).decode()


def parameter_names(content: str, *, enabled: bool) -> tuple[str, ...]:
    """Return the parameters that a command takes.

    Raises:
        EcsError: a parameter may not have its name, or there are too many.
    """
    if not enabled:
        return ()
    try:
        return tuple(assistant.parameter_names(content))
    except assistant.EmptyName:
        raise errors.ParameterNameEmpty from None
    except assistant.LongName:
        raise errors.ParameterNameTooLong from None
    except assistant.BadName:
        raise errors.ParameterNameRefused from None
    except assistant.TooManyNames:
        raise errors.TooManyParameters from None


# --- Saved commands -------------------------------------------------------------------------------------------------


def command_arns(call: Call, command_id: str | None) -> list[str]:
    """Return a command as a resource of a policy: all commands if none is named."""
    return [f"acs:ecs:{call.region}:{call.account_id}:command/{command_id or '*'}"]


def the_command(tx: Transaction, call: Call, command_id: str | None) -> SavedCommand:
    """Return a saved command of the account. Raises CommandNotFound."""
    found = assistant.find_command(tx, call.account_id, call.region, command_id or "")
    if found is None:
        raise errors.CommandNotFound
    return found


def save(tx: Transaction, command: SavedCommand) -> None:
    """Save a command. Raises TooManyCommands."""
    try:
        assistant.save_command(tx, command)
    except assistant.QuotaExceeded:
        raise errors.TooManyCommands from None
