"""RunCommand, InvokeCommand, StopInvocation: commands on instances.

An id that names no instance of the account fails the whole call, so that nothing runs on half of them. An instance that
is there and cannot run anything now has that written in its own record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from backfleet import assistant, fleet
from backfleet.assistant import InvocationFilter, InvocationOptions, Repeat, SavedCommand
from backfleet.fleet import Instance, InstanceFilter
from backfleet.ids import new_id
from backfleet.operations.catalogue import ECS, Call, operation
from backfleet.operations.ecs import errors
from backfleet.operations.ecs.commands import (
    COMMAND_ERRORS,
    LONGEST_SENT,
    PLAIN,
    command_arns,
    description,
    give_tags,
    keep,
    kind,
    launcher,
    name,
    names_in,
    read_content,
    seconds_of,
    the_command,
    timeout,
    working_dir,
)
from backfleet.operations.ecs.errors import check_region
from backfleet.operations.ecs.idempotency import once
from backfleet.operations.ecs.requests import TAG_ERRORS, Tag, client_token, instance_arns, region, tag_list
from backfleet.paging import Page
from backfleet.storage import Transaction
from backfleet.wire.parameters import boolean, json_object, repeat, repeat_objects, text

MOST_INSTANCES = 100  # of one call
MOST_STOPPED = 50  # of one StopInvocation
MOST_VALUES = 10  # parameters of one call
LONGEST_KEY = 64
LONGEST_BUILT_IN = 128  # characters of a built-in parameter's value: an instance's name

WISH_ERRORS = (
    errors.NoInstance,
    errors.InstanceNotFound,
    errors.TooManyIds,
    errors.NotForThisInstance,
    errors.InvocationQuotaExceeded,
    errors.RepeatModeNotFound,
    errors.TerminationModeNotFound,
    errors.FrequencyMissing,
    errors.FrequencyRefused,
    errors.ParameterMissing,
    errors.ParametersDisabled,
    errors.ParametersRefused,
    errors.TooManyValues,
    errors.ParameterKeyTooLong,
    errors.ParameterNotMatched,
    errors.UsernameTooLong,
    errors.PasswordStoreNotSupported,
    errors.ContainersNotSupported,
    errors.NotSupported,
    errors.TooManyResourceTags,
    errors.ResourceTagKeyMissing,
    errors.ResourceTagTwice,
    errors.ResourceTagInstancesNotFound,
    errors.ResourceTagConflict,
)


# --- Words that both share ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ResourceTag:
    """A tag by which instances are chosen."""

    key: str | None = text("Key", longest=64)
    value: str | None = text("Value", longest=128)


def _instance_ids() -> Any:
    return repeat("InstanceId", most=MOST_INSTANCES, refusal=errors.TooManyIds)


def _repeat_mode() -> Any:
    return text("RepeatMode", choices=[mode.value for mode in Repeat], refusal=errors.RepeatModeNotFound)


def _not_offered(name: str, refusal: Any) -> Any:
    """A parameter for what this installation does not have: given, the call is refused rather than half obeyed."""
    return text(name, choices=("",), refusal=refusal)


@dataclass(frozen=True, slots=True)
class RunCommand:
    """What the caller sent."""

    region_id: str | None = region()
    kind: str | None = kind()
    content: str | None = text("CommandContent", required=True)
    encoding: str | None = text("ContentEncoding", longest=32)
    name: str | None = name()
    description: str | None = description()
    instance_ids: tuple[str, ...] = _instance_ids()
    resource_tags: tuple[ResourceTag, ...] = repeat_objects(
        "ResourceTag", of=ResourceTag, most=20, refusal=errors.TooManyResourceTags
    )
    repeat_mode: str | None = _repeat_mode()
    frequency: str | None = text("Frequency", longest=assistant.LONGEST, refusal=errors.FrequencyRefused)
    timed: bool | None = boolean("Timed")
    timeout: int | None = timeout()
    working_dir: str | None = working_dir()
    username: str | None = text("Username", longest=255, refusal=errors.UsernameTooLong)
    password_name: str | None = _not_offered("WindowsPasswordName", errors.PasswordStoreNotSupported)
    enable_parameter: bool = boolean("EnableParameter", default=False)
    parameters: dict[str, Any] | None = json_object("Parameters", refusal=errors.ParametersRefused)
    keep_command: bool = boolean("KeepCommand", default=False)
    container_id: str | None = _not_offered("ContainerId", errors.ContainersNotSupported)
    container_name: str | None = _not_offered("ContainerName", errors.ContainersNotSupported)
    termination_mode: str | None = text(
        "TerminationMode", choices=("Process", "ProcessTree"), refusal=errors.TerminationModeNotFound
    )
    launcher: str | None = launcher()
    oss_output: str | None = _not_offered("OssOutputDelivery", errors.NotSupported)
    client_token: str | None = client_token()
    tags: tuple[Tag, ...] = tag_list()


@dataclass(frozen=True, slots=True)
class InvokeCommand:
    """What the caller sent."""

    region_id: str | None = region()
    command_id: str | None = text("CommandId", required=True, longest=64)
    instance_ids: tuple[str, ...] = _instance_ids()
    resource_tags: tuple[ResourceTag, ...] = repeat_objects(
        "ResourceTag", of=ResourceTag, most=10, refusal=errors.TooManyResourceTags
    )
    repeat_mode: str | None = _repeat_mode()
    frequency: str | None = text("Frequency", longest=assistant.LONGEST, refusal=errors.FrequencyRefused)
    timed: bool | None = boolean("Timed")
    timeout: int | None = timeout()
    working_dir: str | None = working_dir()
    username: str | None = text("Username", longest=255, refusal=errors.UsernameTooLong)
    password_name: str | None = _not_offered("WindowsPasswordName", errors.PasswordStoreNotSupported)
    parameters: dict[str, Any] | None = json_object("Parameters", refusal=errors.ParametersRefused)
    container_id: str | None = _not_offered("ContainerId", errors.ContainersNotSupported)
    container_name: str | None = _not_offered("ContainerName", errors.ContainersNotSupported)
    termination_mode: str | None = text(
        "TerminationMode", choices=("Process", "ProcessTree"), refusal=errors.TerminationModeNotFound
    )
    launcher: str | None = launcher()
    oss_output: str | None = _not_offered("OssOutputDelivery", errors.NotSupported)
    client_token: str | None = client_token()
    tags: tuple[Tag, ...] = tag_list()


Asked = RunCommand | InvokeCommand


def run_as(call: Call, asked: Asked | None) -> Mapping[str, str]:
    """The condition key by which a policy can say as whom commands may run."""
    return {"ecs:CommandRunAs": (asked.username if asked else None) or "root"}


# --- RunCommand and InvokeCommand -----------------------------------------------------------------------------------


@operation(
    ECS,
    "RunCommand",
    action="ecs:RunCommand",
    resources=lambda call, asked: instance_arns(call, asked.instance_ids) + command_arns(call, None),
    conditions=run_as,
    answer={"CommandId": str, "InvokeId": str},
    errors=(errors.RegionNotFound, errors.TooManyCommands, *COMMAND_ERRORS, *WISH_ERRORS),
)
def run_command(call: Call, asked: RunCommand) -> dict[str, Any]:
    """Run a command on instances, without keeping it unless asked to."""
    check_region(call, asked.region_id)
    content = read_content(asked.content or "", asked.encoding, PLAIN)
    seconds = seconds_of(asked.timeout)
    command = SavedCommand(
        id=new_id("c", call.services.draw),
        account_id=call.account_id,
        region=call.region,
        name=asked.name or "",
        description=asked.description or "",
        kind=asked.kind or "",
        content=content,
        working_directory=asked.working_dir or "",
        timeout_seconds=seconds,
        has_parameters=asked.enable_parameter,
        parameter_names=names_in(content, enabled=asked.enable_parameter),
        created_at=call.now,
    )

    def deed(tx: Transaction) -> dict[str, str]:
        if asked.keep_command:
            keep(tx, command)
        return {"CommandId": command.id, "InvokeId": _invoke(tx, call, command, asked, seconds)}

    return once(call, "RunCommand", asked, deed)


@operation(
    ECS,
    "InvokeCommand",
    action="ecs:InvokeCommand",
    resources=lambda call, asked: command_arns(call, asked.command_id) + instance_arns(call, asked.instance_ids),
    conditions=run_as,
    answer={"InvokeId": str},
    errors=(
        errors.RegionNotFound,
        errors.CommandNotFound,
        errors.ContentTooLong,
        errors.TimeoutExceeded,
        errors.WorkingDirRefused,
        errors.LauncherRefused,
        errors.BadClientToken,
        errors.IdempotentMismatch,
        *WISH_ERRORS,
        *TAG_ERRORS,
    ),
)
def invoke_command(call: Call, asked: InvokeCommand) -> dict[str, Any]:
    """Run a kept command on instances."""
    check_region(call, asked.region_id)

    def deed(tx: Transaction) -> dict[str, str]:
        command = the_command(tx, call, asked.command_id)
        return {"InvokeId": _invoke(tx, call, command, asked, seconds_of(asked.timeout, command.timeout_seconds))}

    return once(call, "InvokeCommand", asked, deed)


def _invoke(tx: Transaction, call: Call, command: SavedCommand, asked: Asked, seconds: int) -> str:
    mode = _mode(asked)
    _check_frequency(call, asked.frequency, mode, seconds)
    values = _values(command, asked.parameters)
    if command.has_parameters and assistant.longest_content(command.content, values, LONGEST_BUILT_IN) > LONGEST_SENT:
        raise errors.ContentTooLong
    instances = targets(tx, call, asked.instance_ids, asked.resource_tags)
    check_kind(command.kind, instances)
    options = InvocationOptions(
        instance_ids=[instance.id for instance in instances],
        repeat=mode,
        frequency=asked.frequency or "",
        parameters=values,
        username=asked.username or "",
        working_directory=asked.working_dir or "",
        timeout_seconds=seconds,
        termination=asked.termination_mode or "Process",
    )
    try:
        invoke_id = assistant.invoke(tx, command, options, now=call.now, draw=call.services.draw)
    except assistant.QuotaExceeded:
        raise errors.InvocationQuotaExceeded from None
    give_tags(tx, call, "invocation", invoke_id, asked.tags)
    return invoke_id


def _mode(asked: Asked) -> Repeat:
    """A frequency implies a period."""
    mode = Repeat(asked.repeat_mode or Repeat.ONCE)
    return Repeat.PERIOD if asked.frequency and mode is Repeat.ONCE else mode


def _check_frequency(call: Call, frequency: str | None, mode: Repeat, seconds: int) -> None:
    if mode is not Repeat.PERIOD:
        return
    if not frequency:
        raise errors.FrequencyMissing
    try:
        assistant.read_frequency(frequency, since=call.now, timeout=timedelta(seconds=seconds))
    except assistant.BadFrequency as problem:
        raise errors.FrequencyRefused(f"The specified frequency is invalid: {problem}.") from None


def _values(command: SavedCommand, given: Mapping[str, Any] | None) -> dict[str, str]:
    """The command's parameters as the call gives them. Numbers are taken as they are written."""
    if not given and not command.parameter_names:
        return {}
    if not command.has_parameters:
        raise errors.ParametersDisabled
    values = {key: _value(value) for key, value in (given or {}).items()}
    if len(values) > MOST_VALUES:
        raise errors.TooManyValues
    if any(not key or len(key) > LONGEST_KEY for key in values):
        raise errors.ParameterKeyTooLong
    if assistant.unknown_parameters(command.parameter_names, values):
        raise errors.ParameterNotMatched
    missing = [each for each in command.parameter_names if each not in values]
    if missing:
        raise errors.ParameterMissing(f"A value is missing for the parameter {missing[0]} of the command.")
    return values


def _value(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise errors.ParametersRefused
    if "\0" in str(value):
        raise errors.ParametersRefused
    return str(value)


# --- Where ----------------------------------------------------------------------------------------------------------


def targets(
    tx: Transaction, call: Call, ids: Sequence[str], resource_tags: Sequence[ResourceTag] = ()
) -> list[Instance]:
    """The instances that are named, each once, or those that have the tags.

    Raises:
        EcsRefusal: none is named; one of them is not there; none has the tags, or too many have.
    """
    if resource_tags:
        return _tagged(tx, call, ids, resource_tags)
    if not ids:
        raise errors.NoInstance
    wanted = list(dict.fromkeys(ids))
    found = fleet.resolve(tx, call.account_id, call.region, wanted, []).instances
    if len(found) < len(wanted):
        raise errors.InstanceNotFound
    return [found[instance_id] for instance_id in wanted]


def _tagged(tx: Transaction, call: Call, ids: Sequence[str], resource_tags: Sequence[ResourceTag]) -> list[Instance]:
    if ids:
        raise errors.ResourceTagConflict
    keys = [tag.key for tag in resource_tags]
    if not all(keys):
        raise errors.ResourceTagKeyMissing
    if len(set(keys)) < len(keys):
        raise errors.ResourceTagTwice
    wanted = InstanceFilter(tags=[(tag.key or "", tag.value) for tag in resource_tags])
    page = Page(1, MOST_INSTANCES)
    found = fleet.find_instances(tx, call.account_id, call.region, wanted, page, heard_since=call.now)
    if found.total > MOST_INSTANCES:
        raise errors.TooManyIds
    if not found.items:
        raise errors.ResourceTagInstancesNotFound
    return found.items


def check_kind(kind: str, instances: Sequence[Instance]) -> None:
    """A shell script is nothing for Windows, a batch file nothing for others; PowerShell may be anywhere.

    Raises:
        NotForThisInstance: see above.
    """
    for instance in instances:
        windows = instance.os_type.lower() == "windows"
        if (kind == "RunShellScript" and windows) or (kind == "RunBatScript" and not windows):
            raise errors.NotForThisInstance


# --- StopInvocation -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StopInvocation:
    """What the caller sent."""

    region_id: str | None = region()
    invoke_id: str | None = text("InvokeId", required=True, longest=64)
    instance_ids: tuple[str, ...] = repeat("InstanceId", most=MOST_STOPPED, refusal=errors.TooManyIds)


@operation(
    ECS,
    "StopInvocation",
    action="ecs:StopInvocation",
    resources=lambda call, asked: instance_arns(call, asked.instance_ids),
    answer={},
    errors=(errors.RegionNotFound, errors.InvocationNotFound, errors.InstanceIdNotFound, errors.TooManyIds),
)
def stop_invocation(call: Call, asked: StopInvocation) -> dict[str, Any]:
    """End what runs of an invocation, and let nothing more of it begin; on some of its instances, or on all."""
    check_region(call, asked.region_id)
    with call.services.database.transaction() as tx:
        wanted = InvocationFilter(ids=[asked.invoke_id or ""])
        if not assistant.find_invocations(tx, call.account_id, call.region, wanted, Page(1, 1)).items:
            raise errors.InvocationNotFound
        if not set(asked.instance_ids) <= set(assistant.instances_of(tx, asked.invoke_id or "")):
            raise errors.InstanceIdNotFound
        assistant.stop(tx, asked.invoke_id or "", asked.instance_ids or None, now=call.now)
    return {}
