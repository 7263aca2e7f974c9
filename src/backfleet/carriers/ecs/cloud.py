"""The cloud's own API, by the official SDK: one region with one cloud account. Every answer is checked and bounded.

The SDK does not repeat calls here: who calls decides that, with the same ClientToken.
"""

import base64
import functools
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from alibabacloud_ecs20140526 import models
from alibabacloud_ecs20140526.client import Client
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
from alibabacloud_tea_openapi.models import Config
from darabonba import core
from darabonba.runtime import RuntimeOptions
from Tea.exceptions import TeaException

from backfleet.carriers.ecs.counting import DRY_RUN, counted
from backfleet.carriers.ecs.model import (
    PERMISSION_MISSING,
    AgentStatus,
    Batch,
    CloudInstance,
    EcsProblem,
    Page,
    Result,
    Selection,
    Trouble,
    instance_of,
)
from backfleet.carriers.ecs.paging import MOST_PAGES, PAGE, pages, token_of
from backfleet.carriers.ecs.problems import Clocks, bad_answer, no_answer, problem_of
from backfleet.fleet import CarrierKind
from backfleet.library_internals import limit_answers
from backfleet_host.texts import printable

ECS: Final = CarrierKind.ECS
MOST_RESULT_PAGES: Final = 10  # of one invocation, which has at most 50 instances
CONNECT_MS, READ_MS = 5_000, 15_000
LONGEST_ANSWER: Final = 8 * 1024 * 1024  # bytes; 50 results with 24 KB of output each are 1.7 MB
ANSWER_SECONDS: Final = 20.0  # until all of an answer is there
SHELL: Final = "RunShellScript"
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}")

_last = threading.local()  # `date`: of the last answer that this thread read


def _note_date(headers: Mapping[str, str]) -> None:
    _last.date = headers.get("Date") or ""


limit_answers(core._TLSAdapter, LONGEST_ANSWER, ANSWER_SECONDS, _note_date)


def runtime() -> RuntimeOptions:
    """Return how the SDK makes one call."""
    return RuntimeOptions(autoretry=False, max_attempts=1, connect_timeout=CONNECT_MS, read_timeout=READ_MS)


def calling(action: str, call: Callable[[], Any]) -> Any:
    """Make one call of the SDK, and count it. Raises EcsProblem."""
    return counted(ECS, action, lambda: _calling(action, call))


def _calling(action: str, call: Callable[[], Any]) -> Any:
    began = datetime.now(UTC)  # the SDK signs with this clock, too
    _last.date = ""
    try:
        return call()
    except AlibabaCloudException as problem:
        code, status = str(problem.code or ""), int(problem.status_code or 0)
        detail = getattr(problem, "access_denied_detail", None)  # the SDK sets it for some kinds only
        known = detail if isinstance(detail, dict) else None
        clocks = Clocks(began, _last.date)
        raise problem_of(action, code, str(problem.message or ""), status, known, clocks) from None
    except (TeaException, OSError) as problem:
        raise no_answer(ECS, action, problem) from None
    except (AttributeError, TypeError, ValueError, KeyError, IndexError) as problem:
        raise bad_answer(ECS, action, problem) from None


class Cloud:
    """One region of one cloud account."""

    def __init__(self, region: str, config: Config, before_call: Callable[[], None] = lambda: None) -> None:
        """Call nothing yet.

        Args:
            region: of the cloud.
            config: of the SDK.
            before_call: called before each page of a list, which may take many calls.
        """
        self._region, self._client, self._before_call = region, Client(config), before_call

    @property
    def endpoint(self) -> str:
        """HOST or HOST:PORT that it asks."""
        return str(self._client._endpoint)

    def page(self, selection: Selection, token: str = "") -> Page:
        """Return one page of a selection that names at most 50 instances. Raises EcsProblem."""
        asked = self._asked(selection, selection.instance_ids, token)
        action, call = "ecs:DescribeInstances", self._client.describe_instances_with_options
        found: Page = calling(action, lambda: _page(call(asked, runtime()).body))
        return found

    def listing(self, selection: Selection) -> Iterator[list[CloudInstance]]:
        """Return the instances of a selection page by page, each page when it is asked for. Raises EcsProblem."""
        ids, is_empty = selection.instance_ids, True
        for some in [ids[at : at + PAGE] for at in range(0, len(ids), PAGE)] or [()]:
            asked = self._asked(selection, some)
            call, action = self._client.describe_instances_with_options, "ecs:DescribeInstances"
            for page in self._pages(action, asked, call, lambda body: (_page(body), body.next_token)):
                found = list(page.instances)
                is_empty = is_empty and not found
                yield [one for one in found if not ids or one.remote_id in ids]
        if is_empty:
            self.check_permission()

    def _asked(self, selection: Selection, ids: Sequence[str], token: str = "") -> models.DescribeInstancesRequest:
        tags = [models.DescribeInstancesRequestTag(key=key, value=value) for key, value in selection.tags]
        return models.DescribeInstancesRequest(
            region_id=self._region,
            instance_ids=json.dumps(list(ids)) if ids else None,
            tag=tags or None,
            resource_group_id=selection.resource_group or None,
            max_results=PAGE,
            next_token=token or None,
        )

    def check_permission(self) -> None:
        """Find out whether instances may be listed at all: without permission the cloud's list is empty."""
        asked = models.DescribeInstancesRequest(region_id=self._region, dry_run=True)
        try:
            calling("ecs:DescribeInstances", lambda: self._client.describe_instances_with_options(asked, runtime()))
        except EcsProblem as problem:
            if problem.cloud_code == DRY_RUN:
                return
            raise
        text = "ecs:DescribeInstances is not permitted: the cloud lists nothing. Allow it by a RAM policy."
        raise EcsProblem(PERMISSION_MISSING, text, Trouble.ACCOUNT)

    def agents(self, remote_ids: Sequence[str]) -> dict[str, AgentStatus]:
        """Return what the cloud says of the agents of these instances. One that it does not know is left out."""
        found: dict[str, AgentStatus] = {}
        for at in range(0, len(remote_ids), PAGE):
            self._before_call()
            asked = models.DescribeCloudAssistantStatusRequest(
                region_id=self._region, instance_id=list(remote_ids[at : at + PAGE]), page_number=1, page_size=PAGE
            )
            for one in calling("ecs:DescribeCloudAssistantStatus", functools.partial(self._agents, asked)):
                found[str(one.instance_id)] = AgentStatus(
                    str(one.cloud_assistant_status).lower() == "true",
                    printable(str(one.cloud_assistant_version or ""))[:64],
                    _moment(one.last_heartbeat_time),
                )
        return found

    def _agents(self, asked: models.DescribeCloudAssistantStatusRequest) -> list[Any]:
        body = self._client.describe_cloud_assistant_status_with_options(asked, runtime()).body
        return list(body.instance_cloud_assistant_status_set.instance_cloud_assistant_status or [])

    def run(self, batch: Batch) -> str:
        """Have a batch run, and return the invocation's id. The same token never runs twice. Raises EcsProblem."""
        one = batch.command
        asked = models.RunCommandRequest(
            region_id=self._region,
            client_token=batch.token,
            type=SHELL,
            name="backfleet",
            command_content=base64.b64encode(one.content.encode()).decode(),
            content_encoding="Base64",
            instance_id=[run.remote_id for run in batch.runs],
            timeout=one.timeout_seconds,
            working_dir=one.working_directory or None,
            username=one.username or None,
            termination_mode=one.termination or None,
            enable_parameter=one.has_parameters or None,
        )
        body = calling("ecs:RunCommand", lambda: self._client.run_command_with_options(asked, runtime()).body)
        invoke_id = str(getattr(body, "invoke_id", None) or "")
        if not 0 < len(invoke_id) <= 64 or not invoke_id.isascii():
            raise bad_answer(ECS, "ecs:RunCommand", "no InvokeId")
        return invoke_id

    def results(self, invoke_id: str, open_ids: Sequence[str] = ()) -> list[Result]:
        """Return what has become of an invocation on each of its instances. Raises EcsProblem."""
        asked = models.DescribeInvocationResultsRequest(
            region_id=self._region, invoke_id=invoke_id, content_encoding="Base64", max_results=PAGE
        )
        call, action = self._client.describe_invocation_results_with_options, "ecs:DescribeInvocationResults"
        part = functools.partial(_results, invoke_id)
        return [one for page in self._pages(action, asked, call, part, MOST_RESULT_PAGES) for one in page]

    def stop(self, invoke_id: str, remote_ids: Sequence[str]) -> None:
        """Have an invocation stopped on these instances. Raises EcsProblem."""
        asked = models.StopInvocationRequest(region_id=self._region, invoke_id=invoke_id, instance_id=list(remote_ids))
        calling("ecs:StopInvocation", lambda: self._client.stop_invocation_with_options(asked, runtime()))

    def _pages(
        self,
        action: str,
        asked: Any,
        call: Callable[..., Any],
        part: Callable[[Any], tuple[Any, object]],
        most: int = MOST_PAGES,
    ) -> Iterator[Any]:
        """Return every page of a list, each once, and one at a time. `part` reads it, and the next one's token."""

        def ask(token: str) -> tuple[Any, object]:
            self._before_call()
            asked.next_token = token or None
            read: tuple[Any, object] = calling(action, lambda: part(call(asked, runtime()).body))
            return read

        return pages(ECS, action, ask, most)


def _results(invoke_id: str, body: Any) -> tuple[list[Result], object]:
    """Return the results on a page of those of an invocation, and the token of the next page."""
    of = body.invocation
    listed = of.invocation_results.invocation_result if of.invocation_results else None
    return [_result(one) for one in listed or [] if one.invoke_id == invoke_id], of.next_token


def _page(body: Any) -> Page:
    listed = (body.instances.instance if body.instances else None) or []
    return Page(tuple(_instance(one) for one in listed), token_of(ECS, "ecs:DescribeInstances", body.next_token))


def _instance(one: Any) -> CloudInstance:
    address = ""
    if one.vpc_attributes and one.vpc_attributes.private_ip_address:
        address = next(iter(one.vpc_attributes.private_ip_address.ip_address or []), "")
    texts = (one.instance_id, one.instance_name, one.status, one.ostype, one.osname, one.host_name, address)
    return instance_of(*(str(text or "") for text in texts))


def _output(text: str) -> bytes:
    """Return what an output says. One that was cut says as much as is there: how the command ended is known besides."""
    kept = _BASE64.match(text)
    whole = kept[0] if kept else ""
    return base64.b64decode(whole[: len(whole) // 4 * 4])


def _result(one: Any) -> Result:
    return Result(
        str(one.instance_id),
        printable(str(one.invocation_status or ""))[:32],
        one.exit_code if isinstance(one.exit_code, int) else None,
        printable(str(one.error_code or ""))[:64],
        printable(str(one.error_info or ""))[:300],
        _output(str(one.output or "")),
        max(one.dropped, 0) if isinstance(one.dropped, int) else 0,
    )


def _moment(text: Any) -> datetime | None:
    try:
        return datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
