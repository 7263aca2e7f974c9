"""Systems Manager's own API, by the official SDK: one region with one account. Every answer is checked and bounded.

SendCommand has no token against repetition. The batch's token travels as its comment, and before a batch is sent again
the list of commands is searched for it.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from backfleet.carriers.bootstrap import is_order
from backfleet.carriers.ecs.counting import counted
from backfleet.carriers.ecs.model import (
    COMMAND_REFUSED,
    MOST_AT_ONCE,
    UNREACHABLE,
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
from backfleet.carriers.ecs.problems import bad_answer, no_answer, not_allowed
from backfleet.carriers.facts import FACTS
from backfleet.carriers.ssm.problems import NOT_RUN, STATES, named, problem_of
from backfleet.fleet import CarrierKind
from backfleet.outbound import NotAllowed
from backfleet_host.texts import printable

SSM: Final = CarrierKind.SSM
DOCUMENT: Final = "AWS-RunShellScript"
DELIVERY_SECONDS: Final = 120  # until an instance has fetched a command; AWS takes 30 or more
MOST_SECONDS: Final = 172_800  # that AWS lets a command run
EARLIER: Final = timedelta(minutes=10)  # than a batch was made, by the clock of the cloud
ECS_NAME, SSM_NAME = "'{{ACS::InstanceId}}'", '"$AWS_SSM_INSTANCE_ID"'
GONE: Final = frozenset({"terminated", "shutting-down", ""})


def calling(action: str, call: Callable[[], Any]) -> Any:
    """Make one call of the SDK, and count it. Raises EcsProblem."""
    return counted(SSM, action, lambda: _calling(action, call))


def _calling(action: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except ClientError as problem:
        error = problem.response.get("Error", {})
        status = int(problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
        raise problem_of(action, str(error.get("Code") or ""), str(error.get("Message") or ""), status) from None
    except NotAllowed as problem:
        raise not_allowed(SSM, problem) from None
    except (BotoCoreError, OSError) as problem:
        raise no_answer(SSM, action, problem) from None
    except (AttributeError, TypeError, ValueError, KeyError, IndexError) as problem:
        raise bad_answer(SSM, action, problem) from None


class Systems:
    """One region of one account of AWS."""

    def __init__(self, ssm: Any, ec2: Any, before_call: Callable[[], None] = lambda: None) -> None:
        """Call nothing yet.

        Args:
            ssm: the SDK's client of Systems Manager.
            ec2: the SDK's client of EC2.
            before_call: called before each call of several.
        """
        self._ssm, self._ec2, self._before_call = ssm, ec2, before_call

    def page(self, selection: Selection, token: str = "") -> Page:
        """Return one page of a selection that names at most 50 instances. Raises EcsProblem."""
        listed, following = self._listed(selection, token)
        away = [one["InstanceId"] for one in listed if one.get("PingStatus") != "Online"]
        states = self._states([each for each in away if each.startswith("i-")])
        try:
            found = [_instance(one, states.get(one["InstanceId"], "")) for one in listed]
        except ValueError as problem:
            raise bad_answer(SSM, "ssm:DescribeInstanceInformation", problem) from None
        return Page(tuple(one for one in found if one.status not in GONE), following)

    def listing(self, selection: Selection) -> Iterator[list[CloudInstance]]:
        """Return the instances of a selection page by page, each page when it is asked for. Raises EcsProblem."""
        ids = selection.instance_ids
        for some in [ids[at : at + PAGE] for at in range(0, len(ids), PAGE)] or [()]:
            token = ""
            for _ in range(MOST_PAGES):
                self._before_call()
                page = self.page(replace(selection, instance_ids=some), token)
                yield list(page.instances)
                token = page.following
                if not token:
                    break

    def check_permission(self) -> None:
        """Do nothing: AWS refuses a list that is not permitted, and returns no empty one."""

    def agents(self, remote_ids: Sequence[str]) -> dict[str, AgentStatus]:
        """Return what the cloud says of the agents of these instances. One that it does not know is left out."""
        found: dict[str, AgentStatus] = {}
        for at in range(0, len(remote_ids), PAGE):
            self._before_call()
            listed, _ = self._listed(Selection("", tuple(remote_ids[at : at + PAGE])), "")
            for one in listed:
                version = printable(str(one.get("AgentVersion") or ""))[:64]
                found[one["InstanceId"]] = AgentStatus(one.get("PingStatus") == "Online", version, None)
        return found

    def _listed(self, selection: Selection, token: str) -> tuple[list[dict[str, Any]], str]:
        filters = [{"Key": f"tag:{key}", "Values": [value]} for key, value in selection.tags]
        if selection.instance_ids:
            filters.append({"Key": "InstanceIds", "Values": list(selection.instance_ids)})
        action, more = "ssm:DescribeInstanceInformation", {"NextToken": token} if token else {}
        asked = {"Filters": filters, "MaxResults": PAGE, **more}

        def ask() -> tuple[list[dict[str, Any]], str]:
            answer = self._ssm.describe_instance_information(**asked)
            listed = [one for one in answer.get("InstanceInformationList", []) if one["InstanceId"]]
            return listed, token_of(SSM, action, answer.get("NextToken"))

        try:
            found: tuple[list[dict[str, Any]], str] = calling(action, ask)
        except EcsProblem as problem:
            if problem.trouble is not Trouble.INSTANCE:
                raise
            return self._of_halves(selection), ""
        return found

    def _of_halves(self, selection: Selection) -> list[dict[str, Any]]:
        """Return what is said of instances one of which the cloud does not know."""
        ids = selection.instance_ids
        if len(ids) < 2:
            return []
        found = []
        for half in (ids[: len(ids) // 2], ids[len(ids) // 2 :]):
            self._before_call()
            found += self._listed(replace(selection, instance_ids=half), "")[0]
        return found

    def _states(self, remote_ids: Sequence[str]) -> dict[str, str]:
        """Return the states of EC2 instances whose agents are away."""
        if not remote_ids:
            return {}
        self._before_call()
        asked = {"Filters": [{"Name": "instance-id", "Values": list(remote_ids)}]}

        def ask() -> dict[str, str]:
            reservations = self._ec2.describe_instances(**asked).get("Reservations", [])
            found = [one for each in reservations for one in each.get("Instances", [])]
            return {one["InstanceId"]: printable(str(one["State"]["Name"]))[:32] for one in found}

        states: dict[str, str] = calling("ec2:DescribeInstances", ask)
        return states

    def run(self, batch: Batch) -> str:
        """Have a batch run, and return the command's id.

        A batch that was sent before is looked for. One that is not there is sent again only where its hosts run it
        once in any case. Raises EcsProblem.
        """
        one = batch.command
        if batch.tries:
            known = self._sent_before(batch)
            if known:
                return known
            if not (is_order(one.content) or one.content == FACTS):
                text = "ssm:SendCommand had no answer, and the cloud does not list the command: it is not sent again"
                raise EcsProblem(named(UNREACHABLE), text, Trouble.PASSES)
        content = one.content.replace(ECS_NAME, SSM_NAME) if one.has_parameters else one.content
        if "{{" in content:
            text = "Systems Manager replaces what is in {{ and }}: a command with {{ cannot be sent"
            raise EcsProblem(named(COMMAND_REFUSED), text, Trouble.COMMAND)
        if one.username not in ("", "root"):
            text = f"Systems Manager runs commands as root, not as {one.username}"
            raise EcsProblem(named(COMMAND_REFUSED), text, Trouble.COMMAND)
        parameters = {"commands": [content], "executionTimeout": [str(min(one.timeout_seconds, MOST_SECONDS))]}
        if one.working_directory:
            parameters["workingDirectory"] = [one.working_directory]
        asked = {
            "DocumentName": DOCUMENT, "Comment": batch.token, "Parameters": parameters,
            "InstanceIds": [run.remote_id for run in batch.runs], "TimeoutSeconds": DELIVERY_SECONDS,
            "MaxConcurrency": str(MOST_AT_ONCE), "MaxErrors": "100%",
        }  # fmt: skip
        answer = calling("ssm:SendCommand", lambda: self._ssm.send_command(**asked)["Command"])
        return _command_id("ssm:SendCommand", answer)

    def _sent_before(self, batch: Batch) -> str:
        """Return the id of the command that this batch became, or ""."""
        since = (batch.created_at - EARLIER).strftime("%Y-%m-%dT%H:%M:%SZ")
        asked = {
            "InstanceId": batch.runs[0].remote_id, "MaxResults": PAGE,
            "Filters": [{"key": "InvokedAfter", "value": since}, {"key": "DocumentName", "value": DOCUMENT}],
        }  # fmt: skip
        for page in self._pages("ssm:ListCommands", self._ssm.list_commands, asked):
            for one in page.get("Commands", []):
                if one.get("Comment") == batch.token:
                    return _command_id("ssm:ListCommands", one)
        return ""

    def results(self, invoke_id: str, open_ids: Sequence[str] = ()) -> list[Result]:
        """Return what has become of a command on each of its instances.

        Args:
            invoke_id: the command's id.
            open_ids: the instances whose end is not known yet.

        Raises:
            EcsProblem: there is no answer.
        """
        asked = {"CommandId": invoke_id, "MaxResults": PAGE, "Details": False}
        found: list[Result] = []
        for page in self._pages("ssm:ListCommandInvocations", self._ssm.list_command_invocations, asked):
            for one in page.get("CommandInvocations", []):
                if one.get("CommandId") == invoke_id and one.get("InstanceId") in open_ids:
                    found.append(_state(one))
        return self._with_output(invoke_id, found)

    def _with_output(self, invoke_id: str, found: list[Result]) -> list[Result]:
        """Return results with what those printed that are over. If the cloud has no time, the rest is left out."""
        known: list[Result] = []
        for one in found:
            if one.meaning is not None or one.status in ("Pending", "Running", "Stopping"):
                known.append(one)
                continue
            self._before_call()
            try:
                known.append(self._printed(invoke_id, one))
            except EcsProblem:
                if not known:
                    raise
                break
        return known

    def _printed(self, command_id: str, one: Result) -> Result:
        """Return a result with its output and exit code."""
        asked = {"CommandId": command_id, "InstanceId": one.remote_id}

        def ask() -> Result:
            answer = self._ssm.get_command_invocation(**asked)
            code = answer.get("ResponseCode")
            texts = (str(answer.get(f"Standard{name}Content") or "") for name in ("Output", "Error"))
            exit_code = code if isinstance(code, int) and code >= 0 else None
            return replace(one, exit_code=exit_code, output="".join(texts).encode(errors="replace"))

        found: Result = calling("ssm:GetCommandInvocation", ask)
        return found

    def stop(self, invoke_id: str, remote_ids: Sequence[str]) -> None:
        """Have a command stopped on these instances. Raises EcsProblem."""
        asked = {"CommandId": invoke_id, "InstanceIds": list(remote_ids)}
        calling("ssm:CancelCommand", lambda: self._ssm.cancel_command(**asked))

    def _pages(self, action: str, call: Callable[..., Any], asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Return every page of a list, one at a time."""

        def ask(token: str) -> tuple[dict[str, Any], object]:
            self._before_call()
            page = calling(action, functools.partial(call, **asked, **({"NextToken": token} if token else {})))
            return page, page.get("NextToken")

        return pages(SSM, action, ask)


def _command_id(action: str, command: dict[str, Any]) -> str:
    found = str(command.get("CommandId") or "")
    if not 0 < len(found) <= 64 or not found.isascii():
        raise bad_answer(SSM, action, "no CommandId")
    return found


def _instance(one: dict[str, Any], state: str) -> CloudInstance:
    """Return an instance. One whose agent is away has the state that EC2 says; "" = it is gone."""
    remote_id, is_there = str(one["InstanceId"]), one.get("PingStatus") == "Online"
    runs = is_there or state == "running" or not remote_id.startswith("i-")
    host = one.get("ComputerName") or ""
    system = " ".join(str(one.get(name) or "") for name in ("PlatformName", "PlatformVersion"))
    texts = (
        remote_id, one.get("Name") or host, "Running" if runs else state if state in GONE else state.capitalize(),
        str(one.get("PlatformType") or "").lower(), system,
        host, one.get("IPAddress") or "",
    )  # fmt: skip
    return instance_of(*(str(text) for text in texts))


def _state(one: dict[str, Any]) -> Result:
    details = str(one.get("StatusDetails") or "").replace(" ", "")
    status = details if details in STATES or details in NOT_RUN else str(one.get("Status") or "")
    return Result(
        str(one["InstanceId"]),
        STATES.get(status, "Error"),
        None,
        printable(details)[:64],
        "",
        b"",
        0,
        NOT_RUN.get(status),
    )
