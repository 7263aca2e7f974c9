"""SendFile and DescribeSendFileResults: small files for instances."""

import base64
import binascii
from typing import Any

from backfleet import assistant, commands, fleet
from backfleet.assistant import FILTERS, Invocation, InvocationFilter, InvocationOptions, Record, SavedCommand, SentFile
from backfleet.operations.catalogue import ECS, Call, operation
from backfleet.operations.ecs import errors
from backfleet.operations.ecs.command_fields import timeout, timeout_seconds
from backfleet.operations.ecs.idempotency import do_once
from backfleet.operations.ecs.invocations import check_kind, targets
from backfleet.operations.ecs.requests import (
    PAGE_ERRORS,
    PAGE_SHAPE,
    TAG_ERRORS,
    TAGS,
    InRegion,
    Paged,
    check_region,
    client_token,
    give_tags,
    instance_arns,
    instances_of_run,
    requested_page,
    tag_list,
    tags_answer,
    time_of,
    wanted_tags,
)
from backfleet.operations.held import refuse_orders
from backfleet.operations.tags import Tag
from backfleet.storage import Transaction
from backfleet.values import value_object
from backfleet.wire.parameters import boolean, repeat, text

LONGEST_FILE = 32 * 1024  # characters of a file's content in base64
OWNER = r"[A-Za-z0-9_][A-Za-z0-9_.-]*\$?"
PLAIN, BASE64 = "PlainText", "Base64"

FILE_SHAPE = {
    **dict.fromkeys(
        (
            "InvokeId", "Name", "TargetDir", "Content", "ContentType", "FileOwner", "FileGroup", "FileMode",
            "Overwrite", "Description", "InvocationStatus", "CreationTime",
        ),
        str,
    ),
    "VmCount": int,
    "Tags": {"Tag": TAGS},
    "InvokeInstances": {
        "InvokeInstance": [
            dict.fromkeys(
                (
                    "InstanceId", "InvocationStatus", "ErrorCode", "ErrorInfo", "CreationTime", "StartTime",
                    "FinishTime", "UpdateTime",
                ),
                str,
            )
        ]
    },
}  # fmt: skip


@value_object
class SendFile(InRegion):
    """A file and the instances that it is for."""

    name: str | None = text(
        "Name", required=True, longest=255, pattern=r"(?!\.{1,2}$)[^/\0\n]+", refusal=errors.FileNameRefused
    )
    target_dir: str | None = text(
        "TargetDir", required=True, longest=255, pattern=r"/[^\0\n]*", refusal=errors.TargetDirInvalid
    )
    content: str | None = text("Content", required=True, raw=True)
    content_type: str | None = text(
        "ContentType", default=PLAIN, choices=(PLAIN, BASE64), refusal=errors.FileContentTypeInvalid
    )
    instance_ids: tuple[str, ...] = repeat("InstanceId", most=50, refusal=errors.TooManyIds)
    description: str | None = text(
        "Description", default="", longest=512, refusal=errors.FileDescriptionTooLong, lines=True
    )
    owner: str | None = text("FileOwner", longest=64, pattern=OWNER, refusal=errors.FileOwnerRefused)
    group: str | None = text("FileGroup", longest=64, pattern=OWNER, refusal=errors.FileGroupRefused)
    mode: str | None = text("FileMode", default="0644", pattern=r"[0-7]{3,4}", refusal=errors.FileModeInvalid)
    overwrite: bool = boolean("Overwrite", default=False)
    timeout: int | None = timeout()
    client_token: str | None = client_token()
    tags: tuple[Tag, ...] = tag_list()


@operation(
    ECS,
    "SendFile",
    action="ecs:SendFile",
    resources=lambda call, asked: instance_arns(call, asked.instance_ids),
    answer={"InvokeId": str},
    errors=(
        errors.RegionNotFound,
        errors.NoInstance,
        errors.InstanceNotFound,
        errors.TooManyIds,
        errors.NotForThisInstance,
        errors.FileNameRefused,
        errors.TargetDirInvalid,
        errors.FileContentTypeInvalid,
        errors.FileContentUndecodable,
        errors.FileTooLarge,
        errors.FileDescriptionTooLong,
        errors.FileOwnerRefused,
        errors.FileGroupRefused,
        errors.FileModeInvalid,
        errors.TimeoutExceeded,
        errors.InvocationQuotaExceeded,
        errors.BadClientToken,
        errors.IdempotentMismatch,
        *TAG_ERRORS,
    ),
)
def send_file(call: Call, asked: SendFile) -> dict[str, Any]:
    """Write a file on instances. Each gets the complete file or none."""
    check_region(call, asked)
    refuse_orders(call)
    file = SentFile(
        folder=asked.target_dir or "",
        content=asked.content or "",
        content_type=asked.content_type or PLAIN,
        owner=asked.owner or "",
        group=asked.group or "",
        mode=asked.mode or "",
        overwrite=asked.overwrite,
    )
    command = SavedCommand(
        id="",
        account_id=call.account_id,
        region=call.region,
        name=asked.name or "",
        description=asked.description or "",
        kind=commands.SHELL,
        content=_script(asked, file),
        working_directory="",
        timeout_seconds=timeout_seconds(asked.timeout),
        has_parameters=False,
        parameter_names=(),
        created_at=call.now,
    )

    def effect(tx: Transaction) -> dict[str, str]:
        instances = targets(tx, call, asked.instance_ids)
        check_kind(command.kind, instances)
        options = InvocationOptions([instance.id for instance in instances], timeout_seconds=command.timeout_seconds)
        try:
            invoke_id = assistant.invoke(tx, command, options, now=call.now, draw=call.services.draw, file=file)
        except assistant.QuotaExceeded:
            raise errors.InvocationQuotaExceeded from None
        give_tags(tx, call, "invocation", invoke_id, asked.tags)
        return {"InvokeId": invoke_id}

    return do_once(call, "SendFile", asked, effect)


def _script(asked: SendFile, file: SentFile) -> str:
    return assistant.write_script(
        asked.name or "",
        file.folder,
        _encoded(file),
        mode=file.mode,
        owner=file.owner,
        group=file.group,
        overwrite=file.overwrite,
    )


def _encoded(file: SentFile) -> str:
    """Return the content of a file in base64.

    Raises:
        FileTooLarge: it is longer than LONGEST_FILE in base64.
        FileContentUndecodable: it should be base64, and is not.
    """
    if len(file.content) > LONGEST_FILE:
        raise errors.FileTooLarge
    raw = file.content.encode()
    if file.content_type == BASE64:
        try:
            raw = base64.b64decode(file.content, validate=True)
        except (binascii.Error, ValueError):
            raise errors.FileContentUndecodable from None
    encoded = base64.b64encode(raw).decode()
    if len(encoded) > LONGEST_FILE:
        raise errors.FileTooLarge
    return encoded


@value_object
class DescribeSendFileResults(Paged):
    """Filters of sent files."""

    invoke_id: str | None = text("InvokeId", longest=64)
    instance_id: str | None = text("InstanceId", longest=64)
    name: str | None = text("Name", longest=255)
    status: str | None = text("InvocationStatus", choices=FILTERS)
    tags: tuple[Tag, ...] = tag_list()


@operation(
    ECS,
    "DescribeSendFileResults",
    action="ecs:DescribeSendFileResults",
    resources=lambda call, asked: instances_of_run(
        call, asked.invoke_id, [asked.instance_id] if asked.instance_id else [], is_file=True
    ),
    answer={"Invocations": {"Invocation": [FILE_SHAPE]}, **PAGE_SHAPE},
    errors=(errors.RegionNotFound, errors.TagKeyMissing, *PAGE_ERRORS),
)
def describe_send_file_results(call: Call, asked: DescribeSendFileResults) -> dict[str, Any]:
    """List the files that were sent, newest first, each with its instances."""
    check_region(call, asked)
    page = requested_page(call, asked)
    asked = page.asked
    wanted = InvocationFilter(
        ids=[asked.invoke_id] if asked.invoke_id else None,
        name=asked.name,
        statuses=sorted(assistant.overalls_for(asked.status)) if asked.status else None,
        instance_id=asked.instance_id,
        is_file=True,
        tags=wanted_tags(asked.tags),
    )
    with call.services.database.reading() as tx:
        found = assistant.find_invocations(tx, call.account_id, call.region, wanted, page.page)
        ids = [invocation.id for invocation in found.items]
        records = assistant.records_of(tx, ids, output=False)
        files = assistant.files_of(tx, ids)
        tags = fleet.tags_of(tx, "invocation", ids)
    listed = [
        {
            **_sent(invocation, files[invocation.id], records[invocation.id], asked.instance_id),
            "Tags": {"Tag": tags_answer(tags.get(invocation.id))},
        }
        for invocation in found.items
    ]
    return {"Invocations": {"Invocation": listed}, **page.answer(found)}


def _sent(invocation: Invocation, file: SentFile, records: list[Record], only: str | None) -> dict[str, Any]:
    shown = [record for record in records if only in (None, record.instance_id)]
    return {
        "InvokeId": invocation.id,
        "Name": invocation.name,
        "TargetDir": file.folder,
        "Content": file.content,
        "ContentType": file.content_type,
        "FileOwner": file.owner,
        "FileGroup": file.group,
        "FileMode": file.mode,
        "Overwrite": "true" if file.overwrite else "false",
        "Description": invocation.description,
        "InvocationStatus": invocation.status.value,
        "VmCount": len(records),
        "CreationTime": time_of(invocation.created_at),
        "InvokeInstances": {"InvokeInstance": [_on_instance(record) for record in shown]},
    }


def _on_instance(record: Record) -> dict[str, Any]:
    run = record.run
    return {
        "InstanceId": record.instance_id,
        "InvocationStatus": record.status.value,
        "ErrorCode": run.error_code if run else "",
        "ErrorInfo": run.error_text if run else "",
        "CreationTime": time_of(record.created_at),
        "StartTime": time_of(run.started_at if run else None),
        "FinishTime": time_of(run.ended_at if run else None),
        "UpdateTime": time_of(record.changed_at),
    }
