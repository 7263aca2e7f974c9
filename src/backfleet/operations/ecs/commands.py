"""CreateCommand, DescribeCommands, ModifyCommand, DeleteCommand: commands that are kept."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from backfleet import assistant, fleet
from backfleet.assistant import CommandFilter, SavedCommand
from backfleet.ids import new_id
from backfleet.operations.catalogue import ECS, Call, operation
from backfleet.operations.ecs import errors
from backfleet.operations.ecs.errors import check_region
from backfleet.operations.ecs.idempotency import once
from backfleet.operations.ecs.requests import (
    PAGE_ERRORS,
    PAGE_SHAPE,
    TAG_ERRORS,
    TAGS,
    Tag,
    client_token,
    max_results,
    next_token,
    page_number,
    page_size,
    part_of,
    read_tags,
    region,
    tag_list,
    time_of,
    wanted_tags,
)
from backfleet.paging import Listing
from backfleet.storage import Transaction
from backfleet.wire.parameters import boolean, integer, text

KINDS = ("RunShellScript", "RunBatScript", "RunPowerShellScript")
LONGEST_ENCODED = 24 * 1024  # characters of a command's content in base64
LONGEST_SENT = LONGEST_ENCODED // 4 * 3  # bytes of it, which is what a host takes
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
COMMAND_SHAPE = {
    "CommandId": str,
    "Name": str,
    "Description": str,
    "Type": str,
    "CommandContent": str,
    "Category": str,
    "CreationTime": str,
    "EnableParameter": bool,
    "InvokeTimes": int,
    "Latest": bool,
    "Launcher": str,
    "ParameterNames": {"ParameterName": [str]},
    "ParameterDefinitions": {
        "ParameterDefinition": [{"ParameterName": str, "Required": bool, "PossibleValues": {"PossibleValue": [str]}}]
    },
    "Provider": str,
    "ResourceGroupId": str,
    "Tags": {"Tag": TAGS},
    "Timeout": int,
    "Version": int,
    "WorkingDir": str,
}


# --- Words that commands share --------------------------------------------------------------------------------------


def kind() -> Any:
    """What the content is."""
    return text("Type", required=True, choices=KINDS, refusal=errors.CommandTypeNotFound)


def name(*, required: bool = False) -> Any:
    """What a command is called."""
    return text("Name", required=required, longest=128, refusal=errors.CommandNameTooLong)


def description() -> Any:
    """For people."""
    return text("Description", longest=512, refusal=errors.CommandDescriptionTooLong)


def timeout() -> Any:
    """In seconds; below ten becomes ten."""
    return integer("Timeout", least=1, most=MOST_SECONDS, refusal=errors.TimeoutExceeded)


def working_dir() -> Any:
    """Where it runs."""
    return text("WorkingDir", longest=200, refusal=errors.WorkingDirRefused)


def launcher() -> Any:
    """Not offered: a first line `#!` does the same on every agent."""
    return text("Launcher", choices=("",), refusal=errors.LauncherRefused)


def seconds_of(asked: int | None, otherwise: int = 60) -> int:
    """The time that a command gets."""
    return otherwise if asked is None else max(asked, LEAST_SECONDS)


def read_content(content: str, encoding: str | None, otherwise: str) -> str:
    """The script. An unknown encoding is the operation's own default, in any letter case.

    Raises:
        ContentTooLong, ContentUndecodable: see there.
    """
    said = (encoding or "").lower()
    if (said if said in (PLAIN, BASE64) else otherwise) == PLAIN:
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
    """Content or output as lists show it: base64 unless plain text is asked for."""
    raw = content.encode() if isinstance(content, str) else content
    if (encoding or "").lower() == PLAIN:
        return raw.decode(errors="replace")
    return base64.b64encode(raw).decode()


def names_in(content: str, *, enabled: bool) -> tuple[str, ...]:
    """The parameters that a command takes.

    Raises:
        EcsRefusal: a name that no parameter may have, or too many.
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


def give_tags(tx: Transaction, call: Call, kind: str, resource_id: str, asked: Sequence[Tag]) -> None:
    """Tags of a new thing. Raises EcsRefusal."""
    tags = read_tags(asked)
    if tags:
        fleet.set_tags(tx, call.account_id, call.region, kind, [resource_id], tags)


def command_arns(call: Call, command_id: str | None) -> list[str]:
    """A command as a resource of a policy; all of them where none is named."""
    return [f"acs:ecs:{call.region}:{call.account_id}:command/{command_id or '*'}"]


def the_command(tx: Transaction, call: Call, command_id: str | None) -> SavedCommand:
    """Raises CommandNotFound."""
    found = assistant.find_command(tx, call.account_id, call.region, command_id or "")
    if found is None:
        raise errors.CommandNotFound
    return found


def keep(tx: Transaction, command: SavedCommand) -> None:
    """Raises TooManyCommands."""
    try:
        assistant.save_command(tx, command)
    except assistant.QuotaExceeded:
        raise errors.TooManyCommands from None


# --- CreateCommand --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CreateCommand:
    """What the caller sent."""

    region_id: str | None = region()
    name: str | None = name(required=True)
    kind: str | None = kind()
    content: str | None = text("CommandContent", required=True)
    encoding: str | None = text("ContentEncoding", longest=32)
    description: str | None = description()
    timeout: int | None = timeout()
    working_dir: str | None = working_dir()
    launcher: str | None = launcher()
    enable_parameter: bool = boolean("EnableParameter", default=False)
    client_token: str | None = client_token()
    tags: tuple[Tag, ...] = tag_list()


@operation(
    ECS,
    "CreateCommand",
    action="ecs:CreateCommand",
    resources=lambda call, asked: command_arns(call, None),
    answer={"CommandId": str},
    errors=(errors.RegionNotFound, errors.TooManyCommands, *COMMAND_ERRORS),
)
def create_command(call: Call, asked: CreateCommand) -> dict[str, Any]:
    """Keep a command, to be invoked later."""
    check_region(call, asked.region_id)
    content = read_content(asked.content or "", asked.encoding, BASE64)
    made = SavedCommand(
        id=new_id("c", call.services.draw),
        account_id=call.account_id,
        region=call.region,
        name=asked.name or "",
        description=asked.description or "",
        kind=asked.kind or "",
        content=content,
        working_directory=asked.working_dir or "",
        timeout_seconds=seconds_of(asked.timeout),
        has_parameters=asked.enable_parameter,
        parameter_names=names_in(content, enabled=asked.enable_parameter),
        created_at=call.now,
    )

    def deed(tx: Transaction) -> dict[str, str]:
        keep(tx, made)
        give_tags(tx, call, "command", made.id, asked.tags)
        return {"CommandId": made.id}

    return once(call, "CreateCommand", asked, deed)


# --- DescribeCommands -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DescribeCommands:
    """What the caller sent."""

    region_id: str | None = region()
    command_id: str | None = text("CommandId", longest=64)
    name: str | None = text("Name", longest=128)
    description: str | None = text("Description", longest=512)
    kind: str | None = text("Type", choices=KINDS, refusal=errors.CommandTypeNotFound)
    provider: str | None = text("Provider", longest=64)
    latest: bool = boolean("Latest", default=False)
    encoding: str | None = text("ContentEncoding", longest=32)
    tags: tuple[Tag, ...] = tag_list()
    next_token: str | None = next_token()
    max_results: int | None = max_results()
    page_number: int = page_number()
    page_size: int = page_size()


@operation(
    ECS,
    "DescribeCommands",
    action="ecs:DescribeCommands",
    resources=lambda call, asked: command_arns(call, asked.command_id),
    answer={"Commands": {"Command": [COMMAND_SHAPE]}, **PAGE_SHAPE},
    errors=(errors.RegionNotFound, errors.CommandTypeNotFound, errors.TagKeyMissing, *PAGE_ERRORS),
)
def describe_commands(call: Call, asked: DescribeCommands) -> dict[str, Any]:
    """The account's kept commands, newest first. There are no public ones here."""
    check_region(call, asked.region_id)
    part = part_of(asked)
    wanted = CommandFilter(
        ids=[asked.command_id] if asked.command_id else None,
        name=asked.name,
        description=asked.description,
        kind=asked.kind,
        tags=wanted_tags(asked.tags),
    )
    found: Listing[SavedCommand] = Listing([], 0)
    tags: dict[str, dict[str, str]] = {}
    if not asked.provider:
        with call.services.database.reading() as tx:
            found = assistant.find_commands(tx, call.account_id, call.region, wanted, part.page)
            tags = fleet.tags_of(tx, "command", [command.id for command in found.items])
    listed = [_command(command, tags.get(command.id, {}), asked.encoding) for command in found.items]
    return {"Commands": {"Command": listed}, **part.answer(found)}


def _command(command: SavedCommand, tags: dict[str, str], encoding: str | None) -> dict[str, Any]:
    definitions = [
        {"ParameterName": each, "Required": True, "PossibleValues": {"PossibleValue": []}}
        for each in command.parameter_names
    ]
    return {
        "CommandId": command.id,
        "Name": command.name,
        "Description": command.description,
        "Type": command.kind,
        "CommandContent": encoded(command.content, encoding),
        "Category": "",
        "CreationTime": time_of(command.created_at),
        "EnableParameter": command.has_parameters,
        "InvokeTimes": command.invoke_count,
        "Latest": False,
        "Launcher": "",
        "ParameterNames": {"ParameterName": list(command.parameter_names)},
        "ParameterDefinitions": {"ParameterDefinition": definitions},
        "Provider": "User",
        "ResourceGroupId": "",
        "Tags": {"Tag": tags_answer(tags)},
        "Timeout": command.timeout_seconds,
        "Version": 1,
        "WorkingDir": command.working_directory,
    }


def tags_answer(tags: dict[str, str] | None) -> list[dict[str, str]]:
    """As every list shows them."""
    return [{"TagKey": key, "TagValue": value} for key, value in (tags or {}).items()]


# --- ModifyCommand and DeleteCommand --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModifyCommand:
    """What the caller sent. What is not said stays."""

    region_id: str | None = region()
    command_id: str | None = text("CommandId", required=True, longest=64)
    name: str | None = name()
    description: str | None = description()
    content: str | None = text("CommandContent")
    encoding: str | None = text("ContentEncoding", longest=32)
    timeout: int | None = timeout()
    working_dir: str | None = working_dir()
    launcher: str | None = launcher()


@operation(
    ECS,
    "ModifyCommand",
    action="ecs:ModifyCommand",
    resources=lambda call, asked: command_arns(call, asked.command_id),
    answer={},
    errors=(
        errors.RegionNotFound,
        errors.CommandNotFound,
        errors.CommandNameTooLong,
        errors.CommandDescriptionTooLong,
        errors.TimeoutExceeded,
        errors.WorkingDirRefused,
        errors.LauncherRefused,
        *CONTENT_ERRORS,
    ),
)
def modify_command(call: Call, asked: ModifyCommand) -> dict[str, Any]:
    """Change a kept command. What was invoked before runs on as it was."""
    check_region(call, asked.region_id)
    with call.services.database.transaction() as tx:
        known = the_command(tx, call, asked.command_id)
        content = read_content(asked.content, asked.encoding, BASE64) if asked.content else known.content
        changed = replace(
            known,
            name=asked.name or known.name,
            description=asked.description or known.description,
            content=content,
            timeout_seconds=seconds_of(asked.timeout, known.timeout_seconds),
            working_directory=asked.working_dir or known.working_directory,
            parameter_names=names_in(content, enabled=known.has_parameters),
        )
        assistant.change_command(tx, changed)
    return {}


@dataclass(frozen=True, slots=True)
class DeleteCommand:
    """Which one."""

    region_id: str | None = region()
    command_id: str | None = text("CommandId", required=True, longest=64)


@operation(
    ECS,
    "DeleteCommand",
    action="ecs:DeleteCommand",
    resources=lambda call, asked: command_arns(call, asked.command_id),
    answer={},
    errors=(errors.RegionNotFound, errors.CommandNotFound),
)
def delete_command(call: Call, asked: DeleteCommand) -> dict[str, Any]:
    """Forget a kept command. What was invoked before stays, schedules too."""
    check_region(call, asked.region_id)
    with call.services.database.transaction() as tx:
        assistant.delete_command(tx, the_command(tx, call, asked.command_id).id)
    return {}
