"""RunCommand, InvokeCommand, StopInvocation: commands on instances.

An id that names no instance of the account fails the whole call, so that a command never runs on only some of them. An
instance that exists and cannot run anything now has that noted in its own record.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from backfleet import assistant, fleet
from backfleet.assistant import InvocationFilter, InvocationOptions, Repeat, SavedCommand
from backfleet.fleet import Instance, InstanceFilter
from backfleet.ids import new_id
from backfleet.operations.catalogue import ECS, Call, operation
from backfleet.operations.ecs import errors
from backfleet.operations.ecs.command_fields import (
    COMMAND_ERRORS,
    LONGEST_SENT,
    PLAIN,
    command_arns,
    content_encoding,
    description,
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
    TAG_ERRORS,
    InRegion,
    check_region,
    client_token,
    give_tags,
    instance_arns,
    instances_of_run,
    tag_list,
)
from backfleet.operations.held import refuse_orders
from backfleet.operations.tags import Tag, tag_type
from backfleet.paging import Page
from backfleet.storage import Transaction
from backfleet.values import value_object
from backfleet.wire.errors import ApiError
from backfleet.wire.parameters import boolean, json_object, repeat, repeat_objects, text

MOST_INSTANCES = 100  # of one call
MOST_STOPPED = 50  # of one StopInvocation
MOST_VALUES = 10  # parameters of one call
LONGEST_KEY = 64
LONGEST_BUILT_IN = 128  # characters of a built-in parameter's value: an instance's name

INVOCATION_ERRORS = (
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
    errors.OssDeliveryNotSupported,
    errors.TooManyResourceTags,
    errors.ResourceTagKeyMissing,
    errors.ResourceTagTwice,
    errors.ResourceTagInstancesNotFound,
    errors.ResourceTagConflict,
)


# --- Requests -------------------------------------------------------------------------------------------------------

ResourceTag = tag_type(longest_key=64)


def _resource_tags(most: int) -> Any:
    return repeat_objects("ResourceTag", of=ResourceTag, most=most, refusal=errors.TooManyResourceTags)


def _not_offered(name: str, refusal: Any) -> Any:
    """Return the field of something that this installation does not have: to ignore it would run something else."""
    return text(name, choices=("",), refusal=refusal)


@value_object
class InvocationRequest(InRegion):
    """Where, when and how a command runs. RunCommand and InvokeCommand add which command."""

    instance_ids: tuple[str, ...] = repeat("InstanceId", most=MOST_INSTANCES, refusal=errors.TooManyIds)
    resource_tags: tuple[Tag, ...] = _resource_tags(10)
    repeat_mode: str | None = text(
        "RepeatMode", choices=[mode.value for mode in Repeat], refusal=errors.RepeatModeNotFound
    )
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
    oss_output: str | None = _not_offered("OssOutputDelivery", errors.OssDeliveryNotSupported)
    client_token: str | None = client_token()
    tags: tuple[Tag, ...] = tag_list()


@value_object
class RunCommand(InvocationRequest):
    """A command to run at once or on a schedule; it is saved only if asked for."""

    resource_tags: tuple[Tag, ...] = _resource_tags(20)
    kind: str | None = kind()
    content: str | None = text("CommandContent", required=True, raw=True)
    encoding: str | None = content_encoding()
    name: str | None = name()
    description: str | None = description()
    enable_parameter: bool = boolean("EnableParameter", default=False)
    keep_command: bool = boolean("KeepCommand", default=False)


@value_object
class InvokeCommand(InvocationRequest):
    """A saved command to run at once or on a schedule."""

    command_id: str | None = text("CommandId", required=True, longest=64)


def run_as(call: Call, asked: InvocationRequest | None) -> Mapping[str, str]:
    """Return the condition key by which a policy can say as whom commands may run."""
    return {"ecs:CommandRunAs": (asked.username if asked else None) or "root"}


def _places(call: Call, asked: InvocationRequest) -> list[str]:
    """Return the instances on which a command is to run, also if their tags choose them. Only a command that is saved
    needs permission for commands, too.
    """
    if not asked.resource_tags or asked.instance_ids:
        return instance_arns(call, asked.instance_ids)
    with call.services.database.reading() as tx:
        try:
            return instance_arns(call, [one.id for one in targets(tx, call, (), asked.resource_tags)])
        except ApiError:
            return instance_arns(call, None)


# --- RunCommand and InvokeCommand -----------------------------------------------------------------------------------


@operation(
    ECS,
    "RunCommand",
    action="ecs:RunCommand",
    resources=lambda call, asked: _places(call, asked) + (command_arns(call, None) if asked.keep_command else []),
    conditions=run_as,
    answer={"CommandId": str, "InvokeId": str},
    errors=(errors.RegionNotFound, errors.TooManyCommands, *COMMAND_ERRORS, *INVOCATION_ERRORS),
)
def run_command(call: Call, asked: RunCommand) -> dict[str, Any]:
    """Run a command on instances. It is saved only if KeepCommand is true."""
    check_region(call, asked)
    refuse_orders(call)
    content = read_content(asked.content or "", asked.encoding, PLAIN)
    seconds = timeout_seconds(asked.timeout)
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
        parameter_names=parameter_names(content, enabled=asked.enable_parameter),
        created_at=call.now,
    )

    def effect(tx: Transaction) -> dict[str, str]:
        if asked.keep_command:
            save(tx, command)
        return {"CommandId": command.id, "InvokeId": _invoke(tx, call, command, asked, seconds)}

    return do_once(call, "RunCommand", asked, effect)


@operation(
    ECS,
    "InvokeCommand",
    action="ecs:InvokeCommand",
    resources=lambda call, asked: command_arns(call, asked.command_id) + _places(call, asked),
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
        *INVOCATION_ERRORS,
        *TAG_ERRORS,
    ),
)
def invoke_command(call: Call, asked: InvokeCommand) -> dict[str, Any]:
    """Run a saved command on instances."""
    check_region(call, asked)
    refuse_orders(call)

    def effect(tx: Transaction) -> dict[str, str]:
        command = the_command(tx, call, asked.command_id)
        return {"InvokeId": _invoke(tx, call, command, asked, timeout_seconds(asked.timeout, command.timeout_seconds))}

    return do_once(call, "InvokeCommand", asked, effect)


def _invoke(tx: Transaction, call: Call, command: SavedCommand, asked: InvocationRequest, seconds: int) -> str:
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


def _mode(asked: InvocationRequest) -> Repeat:
    """Return when the command runs: a frequency implies Period."""
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
    """Return the command's parameters as texts; a number becomes its digits."""
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


# --- Instances ------------------------------------------------------------------------------------------------------


def targets(tx: Transaction, call: Call, ids: Sequence[str], resource_tags: Sequence[Tag] = ()) -> list[Instance]:
    """Return the instances that a call names, each once, or those that have its tags.

    Raises:
        EcsError: no instance is named, one does not exist, none has the tags, or too many have.
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


def _tagged(tx: Transaction, call: Call, ids: Sequence[str], resource_tags: Sequence[Tag]) -> list[Instance]:
    if ids:
        raise errors.ResourceTagConflict
    keys = [tag.key for tag in resource_tags]
    if not all(keys):
        raise errors.ResourceTagKeyMissing
    if len(set(keys)) < len(keys):
        raise errors.ResourceTagTwice
    wanted = InstanceFilter(tags=[(tag.key or "", tag.value) for tag in resource_tags])
    page = Page(1, MOST_INSTANCES)
    found = fleet.find_instances(tx, call.account_id, call.region, wanted, page, reachable_since=call.now)
    if found.total > MOST_INSTANCES:
        raise errors.TooManyIds
    if not found.items:
        raise errors.ResourceTagInstancesNotFound
    return found.items


def check_kind(kind: str, instances: Sequence[Instance]) -> None:
    """Check that every instance can run this kind of script. PowerShell may be on any.

    Raises:
        NotForThisInstance: a shell script is for Windows, or a batch file for another system.
    """
    for instance in instances:
        windows = instance.os_type.lower() == "windows"
        if (kind == "RunShellScript" and windows) or (kind == "RunBatScript" and not windows):
            raise errors.NotForThisInstance


# --- StopInvocation -------------------------------------------------------------------------------------------------


@value_object
class StopInvocation(InRegion):
    """An invocation, and its instances if not all are meant."""

    invoke_id: str | None = text("InvokeId", required=True, longest=64)
    instance_ids: tuple[str, ...] = repeat("InstanceId", most=MOST_STOPPED, refusal=errors.TooManyIds)


@operation(
    ECS,
    "StopInvocation",
    action="ecs:StopInvocation",
    resources=lambda call, asked: instances_of_run(call, asked.invoke_id, asked.instance_ids),
    answer={},
    errors=(errors.RegionNotFound, errors.InvocationNotFound, errors.InstanceIdNotFound, errors.TooManyIds),
)
def stop_invocation(call: Call, asked: StopInvocation) -> dict[str, Any]:
    """Stop the runs of an invocation and begin no more of them, on some of its instances or on all."""
    check_region(call, asked)
    with call.services.database.transaction() as tx:
        wanted = InvocationFilter(ids=[asked.invoke_id or ""])
        if not assistant.find_invocations(tx, call.account_id, call.region, wanted, Page(1, 1)).items:
            raise errors.InvocationNotFound
        if not set(asked.instance_ids) <= set(assistant.instances_of(tx, asked.invoke_id or "")):
            raise errors.InstanceIdNotFound
        assistant.stop(tx, asked.invoke_id or "", asked.instance_ids or None, now=call.now)
    return {}
