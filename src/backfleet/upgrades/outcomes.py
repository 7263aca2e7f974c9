"""What news of a command means for its item and for what is known of the client: pure.

A host's report is the truth about that host, whatever its outcome and whenever it comes; the deadline only decides what
the task says of it.
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from backfleet.commands import Outcome, State
from backfleet.fleet import Change
from backfleet.upgrades.items import UNWELL, WELL, Item
from backfleet.upgrades.states import FINAL, ItemState, Kind, may_move
from backfleet.upgrades.tasks import expired
from backfleet_host.contract import Report, read_output

LONGEST_MESSAGE: Final = 1000  # characters

# How a command that brought no report ended -> the item's code and message.
_WITHOUT_REPORT: Final = {
    State.FINISHED: ("InternalError", "the host ended without a report"),
    State.TIMED_OUT: ("TaskExpired", "the host did not end in time"),
    State.STOPPED: ("TaskCancelled", "it was stopped on the host"),
    State.FAILED: ("InternalError", "the agent could not carry it out"),
    State.REFUSED: ("UnsupportedPlatform", "the agent on this host does not take upgrade orders"),
    State.CANCELLED: ("TaskCancelled", "it was stopped before the host asked for it"),
}
_LOST: Final = (
    "HostUnreachable",
    "nothing is heard of this upgrade any more; the host's word still counts if it comes",
)

# What neither every database nor an answer can carry: NUL, and half of a surrogate pair.
_NOT_TEXT: Final = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Later:
    """What came after an item for the same client, when its word comes late."""

    live: bool = False  # another task is moving the client now
    heard: bool = False  # the host has told the outcome of a later order since


@dataclass(frozen=True, slots=True)
class Judgement:
    """The item as it stands now, and what is now known of its client."""

    item: Item
    change: Change | None


@dataclass(frozen=True, slots=True)
class Word:
    """What a host's output tells of one item: the last step begun ("" if none) and its report, if it is there."""

    stage: str
    report: Report | None


def judge(item: Item, outcome: Outcome, *, deadline: datetime, later: Later, now: datetime) -> Judgement:
    """The item and its client after this news. An item past its deadline has expired first, whoever looks first."""
    word = read_word(item, outcome)
    before = expired(item, at=deadline) if item.is_open and now >= deadline else item
    after = _with_word(_moved(before, outcome, word.report, now), word)
    return Judgement(after, _change(item, after, word.report, later))


def read_word(item: Item, outcome: Outcome) -> Word:
    """What the output tells. Another order's report is none."""
    stage, report = read_output(outcome.output.decode(errors="replace"))
    if report is not None and (report.order_id, report.package) != (item.id, item.package):
        report = None
    return Word(stage, report)


def _moved(item: Item, outcome: Outcome, report: Report | None, now: datetime) -> Item:
    if item.state in FINAL:
        return item  # over is over; only what is known of the host may still grow
    to, code, message = _meaning(item, outcome, report)
    if to in FINAL and item.started_at is None:
        item = item.moved(ItemState.RUNNING, at=now)  # the report that it runs may be missing
    return item.moved(to, at=now, code=code, message=message) if may_move(item.state, to) else item


def _with_word(item: Item, word: Word) -> Item:
    """What the host told of its steps and its version."""
    if word.report is None:
        return replace(item, stage=word.stage or item.stage)
    version = told_version(word.report)
    return replace(
        item,
        stage=word.report.stage or word.stage or item.stage,
        current_version=item.current_version if version is None else version,
    )


def _meaning(item: Item, outcome: Outcome, report: Report | None) -> tuple[ItemState, str, str]:
    """State, code and message for an open item. The report is the last line: where it is, the order is over."""
    if report is not None:
        return _of_report(item, report)
    if outcome.state is State.LOST:
        return ItemState.LOST, *_LOST
    if not outcome.is_final:
        return ItemState.RUNNING, "", ""
    code, message = _WITHOUT_REPORT[outcome.state]
    told = ": ".join(filter(None, (outcome.error_code, outcome.error_text)))
    return ItemState.FAILED, code, kept(f"{message} ({told})" if told else message)


def _of_report(item: Item, report: Report) -> tuple[ItemState, str, str]:
    if report.outcome != "succeeded":
        return ItemState.FAILED, report.code or "InternalError", kept(report.message)
    wanted = "" if item.kind is Kind.UNINSTALL else item.to_version
    if report.current_version != wanted:
        runs = report.current_version or "nothing"
        return ItemState.FAILED, "InternalError", f"the host reports success, but {runs} is installed there"
    return ItemState.SUCCEEDED, report.code if report.code == "AlreadyCurrent" else "", kept(report.message)


def _change(before: Item, after: Item, report: Report | None, later: Later) -> Change | None:
    if not before.client_id or later.heard:
        return None
    if report is None:
        ended = before.is_open and not after.is_open
        return Change(before.client_id, status=after.client_status, unsure=True) if ended else None
    if later.live:
        return Change(before.client_id, version=told_version(report))
    state, _, _ = _of_report(before, report)  # also where the item itself was over before
    status = (WELL if state is ItemState.SUCCEEDED else UNWELL)[before.kind]
    return Change(before.client_id, status=status, version=told_version(report))


def told_version(report: Report) -> str | None:
    """What the host says is installed, "" for nothing; None where it does not know.

    A host program that fell over could not look: that it names no version then says nothing.
    """
    if report.code == "InternalError" and not report.current_version:
        return None
    return report.current_version


def kept(text: str) -> str:
    """A host's words as they may be kept: text that every database takes, within LONGEST_MESSAGE."""
    return _NOT_TEXT.sub("?", text)[:LONGEST_MESSAGE]
