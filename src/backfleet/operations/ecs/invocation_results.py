"""DescribeInvocations and DescribeInvocationResults: how commands go, and how they ended."""

import json
from datetime import datetime
from typing import Any

from backfleet import assistant, fleet
from backfleet.assistant import FILTERS, Invocation, InvocationFilter, Record, RecordFilter, Run, Status
from backfleet.identity.policy import Target
from backfleet.operations.catalogue import ECS, Call, operation
from backfleet.operations.ecs import errors
from backfleet.operations.ecs.command_fields import KINDS, command_arns, content_encoding, encoded
from backfleet.operations.ecs.requests import (
    PAGE_ERRORS,
    PAGE_SHAPE,
    TAGS,
    Paged,
    check_region,
    instances_of_run,
    requested_page,
    tag_list,
    tags_answer,
    time_of,
    wanted_tags,
)
from backfleet.operations.tags import Tag
from backfleet.paging import Page
from backfleet.values import value_object
from backfleet.wire.errors import InvalidParameter
from backfleet.wire.parameters import boolean, text
from backfleet.wire.shapes import Maybe

OSS_SHAPE = {"OssOutputStatus": str, "OssOutputUri": str, "OssOutputErrorCode": str, "OssOutputErrorInfo": str}
OSS = dict.fromkeys(OSS_SHAPE, "")
RECORD_SHAPE = {
    "InstanceId": str,
    "InvocationStatus": str,
    "InstanceInvokeStatus": str,
    "ExitCode": Maybe(int),
    "ErrorCode": str,
    "ErrorInfo": str,
    "Output": str,
    "Dropped": int,
    "Repeats": int,
    "Timed": bool,
    "CreationTime": str,
    "StartTime": str,
    "StopTime": str,
    "FinishTime": str,
    "UpdateTime": str,
    **OSS_SHAPE,
}
INVOCATION_SHAPE = {
    **dict.fromkeys(
        (
            "InvokeId", "CommandId", "CommandName", "CommandType", "CommandContent", "CommandDescription",
            "CreationTime", "Frequency", "InvocationStatus", "InvokeStatus", "Parameters", "RepeatMode",
            "TerminationMode", "Username", "WorkingDir", "Launcher", "ContainerId", "ContainerName",
            "OssOutputDelivery",
        ),
        str,
    ),
    "Timed": bool,
    "Timeout": int,
    "Tags": {"Tag": TAGS},
    "InvokeInstances": {"InvokeInstance": [RECORD_SHAPE]},
}  # fmt: skip
RESULT_SHAPE = {
    **dict.fromkeys(
        (
            "CommandId", "InvokeId", "InstanceId", "InvocationStatus", "InvokeRecordStatus", "ErrorCode", "ErrorInfo",
            "Output", "StartTime", "StopTime", "FinishedTime", "Username", "Launcher", "TerminationMode",
            "ContainerId", "ContainerName", "OssOutputDelivery",
        ),
        str,
    ),
    "ExitCode": Maybe(int),
    "Dropped": int,
    "Repeats": int,
    "Tags": {"Tag": TAGS},
    **OSS_SHAPE,
}  # fmt: skip


def result_targets(call: Call, asked: Any) -> list[Target]:
    """Return what a caller of results needs permission for.

    That is the instance that is named, those of the run that is named, or all; and the command that is named, or the
    saved one of that run. Otherwise no command needs an Allow, and a Deny on all of them counts.
    """
    instances = instances_of_run(call, asked.invoke_id, [asked.instance_id] if asked.instance_id else [])
    command_id = asked.command_id or (_saved_command(call, asked.invoke_id) if asked.invoke_id else None)
    if command_id:
        return [Target((arn,)) for arn in instances + command_arns(call, command_id)]
    return [Target((arn,), vetoes=tuple(command_arns(call, None))) for arn in instances]


def _saved_command(call: Call, invoke_id: str) -> str | None:
    """Return the command of a run of the account, if it is saved."""
    with call.services.database.reading() as tx:
        wanted = InvocationFilter(ids=[invoke_id])
        for run in assistant.find_invocations(tx, call.account_id, call.region, wanted, Page(1, 1)).items:
            found = assistant.find_command(tx, call.account_id, call.region, run.command_id)
            return found.id if found is not None else None
    return None


# --- DescribeInvocations --------------------------------------------------------------------------------------------


@value_object
class DescribeInvocations(Paged):
    """Filters of invocations."""

    invoke_id: str | None = text("InvokeId", longest=64)
    command_id: str | None = text("CommandId", longest=64)
    command_name: str | None = text("CommandName", longest=128)
    command_type: str | None = text("CommandType", choices=KINDS, refusal=errors.CommandTypeNotFound)
    invoke_status: str | None = text("InvokeStatus", choices=FILTERS)
    instance_id: str | None = text("InstanceId", longest=64)
    timed: bool | None = boolean("Timed")
    repeat_mode: str | None = text(
        "RepeatMode", choices=[mode.value for mode in assistant.Repeat], refusal=errors.RepeatModeNotFound
    )
    include_output: bool = boolean("IncludeOutput", default=False)
    encoding: str | None = content_encoding()
    tags: tuple[Tag, ...] = tag_list()


@operation(
    ECS,
    "DescribeInvocations",
    action="ecs:DescribeInvocations",
    resources=result_targets,
    answer={"Invocations": {"Invocation": [INVOCATION_SHAPE]}, **PAGE_SHAPE},
    errors=(
        errors.RegionNotFound,
        errors.CommandTypeNotFound,
        errors.RepeatModeNotFound,
        errors.TagKeyMissing,
        *PAGE_ERRORS,
    ),
)
def describe_invocations(call: Call, asked: DescribeInvocations) -> dict[str, Any]:
    """List the account's invocations, newest first, each with its instances."""
    check_region(call, asked)
    if asked.include_output and not (asked.invoke_id or asked.instance_id):
        raise InvalidParameter("IncludeOutput needs an InvokeId or an InstanceId.")
    page = requested_page(call, asked)
    asked = page.asked
    with call.services.database.reading() as tx:
        found = assistant.find_invocations(tx, call.account_id, call.region, _wanted(asked), page.page)
        ids = [invocation.id for invocation in found.items]
        records = assistant.records_of(tx, ids, asked.instance_id, output=asked.include_output)
        tags = fleet.tags_of(tx, "invocation", ids)
    listed = [
        {
            **_invocation(invocation, asked.encoding),
            "Tags": {"Tag": tags_answer(tags.get(invocation.id))},
            "InvokeInstances": {
                "InvokeInstance": [_record(invocation, record, asked.encoding) for record in records[invocation.id]]
            },
        }
        for invocation in found.items
    ]
    return {"Invocations": {"Invocation": listed}, **page.answer(found)}


def _wanted(asked: DescribeInvocations) -> InvocationFilter:
    """Return the filter of a request. As in the cloud, name, status and mode have no effect beside an instance."""
    free = asked.instance_id is None
    return InvocationFilter(
        ids=[asked.invoke_id] if asked.invoke_id else None,
        command_id=asked.command_id,
        name=asked.command_name if free else None,
        kind=asked.command_type,
        statuses=sorted(assistant.overalls_for(asked.invoke_status)) if asked.invoke_status and free else None,
        repeat=asked.repeat_mode if free else None,
        timed=asked.timed,
        instance_id=asked.instance_id,
        tags=wanted_tags(asked.tags),
    )


def _invocation(invocation: Invocation, encoding: str | None) -> dict[str, Any]:
    return {
        "InvokeId": invocation.id,
        "CommandId": invocation.command_id,
        "CommandName": invocation.name,
        "CommandType": invocation.kind,
        "CommandContent": encoded(invocation.content, encoding),
        "CommandDescription": invocation.description,
        "CreationTime": time_of(invocation.created_at),
        "Frequency": invocation.frequency,
        "InvocationStatus": invocation.status.value,
        "InvokeStatus": assistant.legacy_overall(invocation.status),
        "Parameters": json.dumps(dict(invocation.parameters), ensure_ascii=False, separators=(",", ":")),
        "RepeatMode": invocation.repeat.value,
        "TerminationMode": invocation.termination,
        "Timed": invocation.timed,
        "Timeout": invocation.timeout_seconds,
        "Username": invocation.username,
        "WorkingDir": invocation.working_directory,
        "Launcher": "",
        "ContainerId": "",
        "ContainerName": "",
        "OssOutputDelivery": "",
    }


def _record(invocation: Invocation, record: Record, encoding: str | None) -> dict[str, Any]:
    run = record.run
    return {
        "InstanceId": record.instance_id,
        "InvocationStatus": record.status.value,
        "InstanceInvokeStatus": assistant.legacy(record.status),
        "ExitCode": run.exit_code if run else None,
        "ErrorCode": run.error_code if run else "",
        "ErrorInfo": run.error_text if run else "",
        "Output": encoded(run.output if run else b"", encoding),
        "Dropped": run.dropped if run else 0,
        "Repeats": record.repeats,
        "Timed": invocation.timed,
        "CreationTime": time_of(record.created_at),
        "StartTime": time_of(run.started_at if run else None),
        "StopTime": time_of(record.stopped_at),
        "FinishTime": time_of(run.ended_at if run else None),
        "UpdateTime": time_of(record.changed_at),
        **OSS,
    }


# --- DescribeInvocationResults --------------------------------------------------------------------------------------


@value_object
class DescribeInvocationResults(Paged):
    """Filters of results."""

    invoke_id: str | None = text("InvokeId", longest=64)
    instance_id: str | None = text("InstanceId", longest=64)
    command_id: str | None = text("CommandId", longest=64)
    record_status: str | None = text("InvokeRecordStatus", choices=FILTERS)
    include_history: bool = boolean("IncludeHistory", default=False)
    encoding: str | None = content_encoding()
    tags: tuple[Tag, ...] = tag_list()


@operation(
    ECS,
    "DescribeInvocationResults",
    action="ecs:DescribeInvocationResults",
    resources=result_targets,
    answer={"Invocation": {"InvocationResults": {"InvocationResult": [RESULT_SHAPE]}, **PAGE_SHAPE}},
    errors=(errors.RegionNotFound, errors.TagKeyMissing, *PAGE_ERRORS),
)
def describe_invocation_results(call: Call, asked: DescribeInvocationResults) -> dict[str, Any]:
    """List the results of commands on each instance: of the newest run, or with IncludeHistory of every run."""
    check_region(call, asked)
    if asked.include_history and not asked.invoke_id:
        raise InvalidParameter("IncludeHistory needs the InvokeId of a scheduled invocation.")
    page = requested_page(call, asked)
    asked = page.asked
    wanted = RecordFilter(
        invocation_id=asked.invoke_id,
        command_id=asked.command_id,
        instance_id=asked.instance_id,
        statuses=sorted(assistant.statuses_for(asked.record_status)) if asked.record_status else None,
        tags=wanted_tags(asked.tags),
    )
    find = assistant.find_runs if asked.include_history else assistant.find_records
    with call.services.database.reading() as tx:
        found = find(tx, call.account_id, call.region, wanted, page.page)
        ids = [invocation.id for invocation, _ in found.items]
        tags = fleet.tags_of(tx, "invocation", ids)
    listed = [
        {
            **_result(invocation, result, asked.encoding),
            "Tags": {"Tag": tags_answer(tags.get(invocation.id))},
        }
        for invocation, result in found.items
    ]
    return {"Invocation": {"InvocationResults": {"InvocationResult": listed}, **page.answer(found)}}


def _result(invocation: Invocation, found: Record | Run, encoding: str | None) -> dict[str, Any]:
    run = found.run if isinstance(found, Record) else found
    repeats = found.repeats if isinstance(found, Record) else found.number
    stopped_at: datetime | None = found.stopped_at
    status: Status = found.status
    return {
        "CommandId": invocation.command_id,
        "InvokeId": invocation.id,
        "InstanceId": found.instance_id,
        "InvocationStatus": status.value,
        "InvokeRecordStatus": assistant.legacy(status),
        "ExitCode": run.exit_code if run else None,
        "ErrorCode": run.error_code if run else "",
        "ErrorInfo": run.error_text if run else "",
        "Output": encoded(run.output if run else b"", encoding),
        "Dropped": run.dropped if run else 0,
        "Repeats": repeats,
        "StartTime": time_of(run.started_at if run else None),
        "StopTime": time_of(stopped_at),
        "FinishedTime": time_of(run.ended_at if run else None),
        "Username": invocation.username,
        "Launcher": "",
        "TerminationMode": invocation.termination,
        "ContainerId": "",
        "ContainerName": "",
        "OssOutputDelivery": "",
        **OSS,
    }
