"""What the news of an order means for its item, and for what is known of the client: pure.

A host's report is the truth about that host, whatever its outcome and whenever it comes. The deadline only decides how
the task shows it.
"""

from dataclasses import replace
from datetime import datetime
from typing import Final

from backfleet.carriers import Outcome, State
from backfleet.fleet import Change, ClientStatus, Failure
from backfleet.host_outputs import HostOutput, read_host_output
from backfleet.upgrades.early_ends import GONE_CODE, gone_text
from backfleet.upgrades.model import KEEPS_VERSION, STATUS_SUCCEEDED, Item, status_after_failure
from backfleet.upgrades.states import FINAL, ItemState, Kind, may_move
from backfleet.values import changed, value_object
from backfleet_host.contract import Report
from backfleet_host.texts import NOT_TEXT, first_and_last, printable

LONGEST_MESSAGE: Final = 1000  # characters
LONGEST_EVIDENCE: Final = 4000  # characters

# The item's code and message where the command ended without a report.
_WITHOUT_REPORT: Final = {
    State.FINISHED: ("InternalError", "the host ended without a report"),
    State.TIMED_OUT: ("TaskExpired", "the host did not end in time"),
    State.STOPPED: ("TaskCancelled", "it was stopped on the host"),
    State.FAILED: ("InternalError", "the agent could not carry it out"),
    State.REFUSED: ("UnsupportedPlatform", "the agent on this host does not take upgrade orders"),
    State.CANCELLED: ("TaskCancelled", "it was stopped before the host fetched it"),
}
_AGENT_ERRORS: Final = {
    "-8": ("DiskFull", "the agent has no disk space to begin it"),
    "28": ("DiskFull", "the agent has no disk space to begin it"),
    "122": ("DiskFull", "the agent has no disk space to begin it, by its quota"),
    "30": ("HostBusy", "the agent's file system is read-only"),
    **dict.fromkeys(
        (
            "SshHostKeyChanged",
            "SshHostUnfit",
            "SshKeyMissing",
            "SshLoginRefused",
            "SshNotAllowed",
            "SshSudoRefused",
        ),
        ("HostUnreachable", "the server could not begin it by SSH"),
    ),
    **dict.fromkeys(
        (
            "EcsAgentNotRunning",
            "EcsCommandRefused",
            "EcsInstanceNotFound",
            "EcsInstanceNotRunning",
            "EcsKeyRefused",
            "EcsClockWrong",
            "EcsNotAllowed",
            "EcsNotDelivered",
            "EcsPermissionMissing",
            "EcsQuotaUsedUp",
            "EcsRegionRefused",
            "EcsSdkMissing",
        ),
        ("HostUnreachable", "the cloud would not begin it"),
    ),
}
"""What an agent's own errors mean that tell something about the host. A positive one is an errno of Linux.

The others are those of the carriers `ssh` and `ecs`, which stand in for an agent.
"""

_BEFORE_LOOKING: Final = ("DownloadFailed", "UntrustedRelease", "UnsupportedPlatform")
"""How an order fails that could not even start, by a command without our host program."""
_LOST: Final = (
    "HostUnreachable",
    "the host has stopped reporting on this upgrade; if it reports later, that still counts",
)


@value_object
class LaterOrders:
    """What has happened to an item's client since, for news that comes after the item was over."""

    is_open: bool = False  # another task is moving the client now
    was_reported: bool = False  # the host has reported the outcome of a later order


@value_object
class Judgement:
    """An item after its news, and what is now known of its client."""

    item: Item
    change: Change | None
    has_settings: bool = False  # its host has saved those of its task


def judge(item: Item, outcome: Outcome, *, deadline: datetime, later: LaterOrders, now: datetime) -> Judgement:
    """Return an item and what is known of its client after this news.

    An item past its deadline expires first, so that it does not matter whether the news or the expiry was seen first.
    """
    output = output_for(item, outcome)
    before = item.expired(at=deadline, reached=outcome.reached) if item.is_open and now >= deadline else item
    after = _with_output(_moved(before, outcome, output.report, now), output)
    if output.instead and after.state in FINAL and before.state not in FINAL:
        after = replace(after, message=storable("; ".join(filter(None, (after.message, output.instead)))))
    change = _change(item, after, output.report, later, now)
    return Judgement(after, change, _has_settings(output.report) and not later.was_reported)


def _has_settings(report: Report | None) -> bool:
    return report is not None and (report.kind, report.outcome) == (Kind.SETTINGS.value, "succeeded")


def output_for(item: Item, outcome: Outcome) -> HostOutput:
    """Read what a host printed of an item's order. A report of another order is ignored."""
    found = read_host_output(outcome.output)
    if found.report is not None and (found.report.order_id, found.report.package) != (item.id, item.package):
        return replace(found, report=None)
    return found


def _moved(item: Item, outcome: Outcome, report: Report | None, now: datetime) -> Item:
    if item.state in FINAL:
        return _with_late_report(item, report)  # its state stays; what is known of the host may still change
    never_had_it = outcome.state is State.CANCELLED and item.state is ItemState.SENT
    to, code, message = _meaning(item, outcome, report)
    if to in FINAL and item.started_at is None:
        item = item.moved(ItemState.RUNNING, at=now)  # it ran, even if no report of that arrived
    if not may_move(item.state, to):
        return item
    after = item.moved(to, at=now, code=code, message=message)
    return replace(after, deferred=True) if never_had_it else after


def _with_late_report(item: Item, report: Report | None) -> Item:
    """Return an item that was ended here, with what its host reported of it since."""
    if report is None or item.state not in (ItemState.CANCELLED, ItemState.EXPIRED):
        return item
    version = reported_version(report)
    installed = "what is installed is not known" if version is None else f"{version or 'nothing'} is installed"
    ended = report.code or ("the order succeeded" if report.kind == item.kind.value else "it looked")
    text = f"; its host reported later: {ended}, {installed}"
    return item if text in item.message else replace(item, message=storable(f"{item.message}{text}"))


def _with_output(item: Item, output: HostOutput) -> Item:
    """Return the item with the stage and the version that the host reported."""
    if output.report is None:
        return changed(item, stage=output.stage or item.stage)
    version = reported_version(output.report)
    return changed(
        item,
        stage=output.report.stage or output.stage or item.stage,
        current_version=item.current_version if version is None else version,
        evidence=evidence_of(output.report),
        deferred=version is not None and _is_deferred(output.report),
    )


def evidence_of(report: Report) -> str:
    """Return what a version printed that was rolled back, first and last lines, each escaped; "" if nothing."""
    evidence = report.details.get("evidence")
    printed = evidence.get("output") if isinstance(evidence, dict) else None
    if not isinstance(printed, str):
        return ""
    lines = [printable(line) for line in first_and_last(printed, LONGEST_EVIDENCE).splitlines()]
    return first_and_last("\n".join(lines), LONGEST_EVIDENCE)


def _meaning(item: Item, outcome: Outcome, report: Report | None) -> tuple[ItemState, str, str]:
    """Return state, code and message for an open item. A report is the last line: with it the order is over."""
    if report is not None:
        return _meaning_of_report(item, report)
    if outcome.state is State.LOST:
        return ItemState.LOST, *_LOST
    if not outcome.is_final:
        return ItemState.RUNNING, "", ""
    if outcome.state is State.GONE:
        return ItemState.FAILED, GONE_CODE, gone_text(outcome.reached)
    code, message = _WITHOUT_REPORT[outcome.state]
    if outcome.state is State.FAILED:
        code, message = _AGENT_ERRORS.get(outcome.error_code, (code, message))
    detail = ": ".join(filter(None, (outcome.error_code, outcome.error_text)))
    return ItemState.FAILED, code, storable(f"{message} ({detail})" if detail else message)


def _meaning_of_report(item: Item, report: Report) -> tuple[ItemState, str, str]:
    if report.outcome != "succeeded":
        message = report.message if reported_version(report) is not None else f"{report.message}{_unconfirmed(item)}"
        return ItemState.FAILED, report.code or "InternalError", storable(message)
    wanted = report.current_version if item.kind in KEEPS_VERSION else _wanted_version(item, report)
    if report.current_version != wanted:
        runs = report.current_version or "nothing"
        return ItemState.FAILED, "InternalError", f"the host reports success, but {runs} is installed there"
    return ItemState.SUCCEEDED, report.code if report.code == "AlreadyCurrent" else "", storable(report.message)


def _wanted_version(item: Item, report: Report) -> str:
    """Return what must be installed if the order succeeded. A roll-back may leave the version to the host."""
    if item.kind is Kind.UNINSTALL:
        return ""
    is_left_to_host = item.kind is Kind.ROLL_BACK and not item.to_version
    return (report.to_version or "the version before") if is_left_to_host else item.to_version


def _unconfirmed(item: Item) -> str:
    known = f"; {item.current_version} was installed when the host last said so" if item.current_version else ""
    return f"{known}; what is installed now is not confirmed"


def _change(before: Item, after: Item, report: Report | None, later: LaterOrders, now: datetime) -> Change | None:
    if not before.client_id or later.was_reported:
        return None
    failure = None if before.kind in KEEPS_VERSION else _failure(after, report, now)
    if report is None:
        if not before.is_open or after.is_open:
            return None
        return Change(before.client_id, status=after.new_client_status, unsure=not after.deferred, failure=failure)
    version = reported_version(report)
    if later.is_open:
        return Change(before.client_id, version=version, unsure=version is None)
    return Change(
        before.client_id,
        status=None if before.kind in KEEPS_VERSION else _client_status(before, report),
        version=version,
        unsure=version is None,
        failure=failure,
        has_succeeded=failure is None and not _is_deferred(report) and before.kind not in KEEPS_VERSION,
    )


def _failure(after: Item, report: Report | None, now: datetime) -> Failure | None:
    """Return how an order failed; None if it did not, the host was only not ready, or it never had the order."""
    if report is None and after.deferred:
        return None
    if report is None:
        return Failure(after.code, after.message, after.to_version, now)
    state, code, message = _meaning_of_report(after, report)
    if state is ItemState.SUCCEEDED or _is_deferred(report):
        return None
    return Failure(code, message, after.to_version, now, evidence_of(report))


def _is_deferred(report: Report) -> bool:
    return report.outcome == "failed" and report.details.get("deferred") is True


def _client_status(item: Item, report: Report) -> ClientStatus:
    """Return the client's status after a report, also where the item itself was over before."""
    version = reported_version(report)
    if version == "" and report.code == "ClientNotInstalled":
        return ClientStatus.NOT_INSTALLED
    state, code, _ = _meaning_of_report(item, report)
    if state is ItemState.SUCCEEDED:
        return STATUS_SUCCEEDED[item.kind]
    known = item.current_version if version is None else version
    is_deferred = version is not None and _is_deferred(report)
    return status_after_failure(item.kind, known, code, is_deferred=is_deferred)


def reported_version(report: Report) -> str | None:
    """Return the version that is installed according to a report, "" for none; None if the report does not tell.

    A host program that crashed, or never started, could not find out: a missing version then means nothing. Host
    programs from before `version_known` are recognized by what their reports lack.
    """
    if not report.version_known or (not report.current_version and _is_without_findings(report)):
        return None
    return report.current_version


def _is_without_findings(report: Report) -> bool:
    """Return whether an older program reported without having looked: it then named no target version either."""
    never_looked = not report.to_version and report.code in _BEFORE_LOOKING
    return report.outcome == "failed" and (report.code == "InternalError" or never_looked)


def storable(text: str) -> str:
    """Return a host's text so that every database takes it, cut to LONGEST_MESSAGE."""
    return NOT_TEXT.sub("?", text)[:LONGEST_MESSAGE]
