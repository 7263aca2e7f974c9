"""CreateCommand, DescribeCommands, ModifyCommand, DeleteCommand: saved commands."""

from dataclasses import replace
from typing import Any

from backfleet import assistant, fleet
from backfleet.assistant import CommandFilter, SavedCommand
from backfleet.ids import new_id
from backfleet.operations.catalogue import ECS, Call, operation
from backfleet.operations.ecs import errors
from backfleet.operations.ecs.command_fields import (
    BASE64,
    COMMAND_ERRORS,
    CONTENT_ERRORS,
    KINDS,
    command_arns,
    content_encoding,
    description,
    encoded,
    kind,
    launcher,
    name,
    parameter_names,
    read_content,
    save,
    the_command,
    timeout,
    timeout_seconds,
    working_dir,
)
from backfleet.operations.ecs.idempotency import do_once
from backfleet.operations.ecs.requests import (
    PAGE_ERRORS,
    PAGE_SHAPE,
    TAGS,
    InRegion,
    Paged,
    check_region,
    client_token,
    give_tags,
    requested_page,
    tag_list,
    tags_answer,
    time_of,
    wanted_tags,
)
from backfleet.operations.tags import Tag
from backfleet.paging import Listing
from backfleet.storage import Transaction
from backfleet.values import value_object
from backfleet.wire.parameters import boolean, text

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


# --- CreateCommand --------------------------------------------------------------------------------------------------


@value_object
class CreateCommand(InRegion):
    """A command to save."""

    name: str | None = name(required=True)
    kind: str | None = kind()
    content: str | None = text("CommandContent", required=True, raw=True)
    encoding: str | None = content_encoding()
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
    """Save a command, to be invoked later."""
    check_region(call, asked)
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
        timeout_seconds=timeout_seconds(asked.timeout),
        has_parameters=asked.enable_parameter,
        parameter_names=parameter_names(content, enabled=asked.enable_parameter),
        created_at=call.now,
    )

    def effect(tx: Transaction) -> dict[str, str]:
        save(tx, made)
        give_tags(tx, call, "command", made.id, asked.tags)
        return {"CommandId": made.id}

    return do_once(call, "CreateCommand", asked, effect)


# --- DescribeCommands -----------------------------------------------------------------------------------------------


@value_object
class DescribeCommands(Paged):
    """Filters of saved commands."""

    command_id: str | None = text("CommandId", longest=64)
    name: str | None = text("Name", longest=128)
    description: str | None = text("Description", longest=512, lines=True)
    kind: str | None = text("Type", choices=KINDS, refusal=errors.CommandTypeNotFound)
    provider: str | None = text("Provider", longest=64)
    latest: bool = boolean("Latest", default=False)
    encoding: str | None = content_encoding()
    tags: tuple[Tag, ...] = tag_list()


@operation(
    ECS,
    "DescribeCommands",
    action="ecs:DescribeCommands",
    resources=lambda call, asked: command_arns(call, asked.command_id),
    answer={"Commands": {"Command": [COMMAND_SHAPE]}, **PAGE_SHAPE},
    errors=(errors.RegionNotFound, errors.CommandTypeNotFound, errors.TagKeyMissing, *PAGE_ERRORS),
)
def describe_commands(call: Call, asked: DescribeCommands) -> dict[str, Any]:
    """List the account's saved commands, newest first. This installation has no public ones."""
    check_region(call, asked)
    page = requested_page(call, asked)
    asked = page.asked
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
            found = assistant.find_commands(tx, call.account_id, call.region, wanted, page.page)
            tags = fleet.tags_of(tx, "command", [command.id for command in found.items])
    listed = [_command(command, tags.get(command.id, {}), asked.encoding) for command in found.items]
    return {"Commands": {"Command": listed}, **page.answer(found)}


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


# --- ModifyCommand and DeleteCommand --------------------------------------------------------------------------------


@value_object
class ModifyCommand(InRegion):
    """A saved command and its new values. What is not given stays."""

    command_id: str | None = text("CommandId", required=True, longest=64)
    name: str | None = name()
    description: str | None = description()
    content: str | None = text("CommandContent", raw=True)
    encoding: str | None = content_encoding()
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
    """Change a saved command. Earlier invocations run on as they were."""
    check_region(call, asked)
    with call.services.database.transaction() as tx:
        known = the_command(tx, call, asked.command_id)
        content = read_content(asked.content, asked.encoding, BASE64) if asked.content else known.content
        changed = replace(
            known,
            name=asked.name or known.name,
            description=asked.description or known.description,
            content=content,
            timeout_seconds=timeout_seconds(asked.timeout, known.timeout_seconds),
            working_directory=asked.working_dir or known.working_directory,
            parameter_names=parameter_names(content, enabled=known.has_parameters),
        )
        assistant.change_command(tx, changed)
    return {}


@value_object
class DeleteCommand(InRegion):
    """A saved command."""

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
    """Delete a saved command. Earlier invocations stay and go on, schedules too."""
    check_region(call, asked)
    with call.services.database.transaction() as tx:
        assistant.delete_command(tx, the_command(tx, call, asked.command_id).id)
    return {}
