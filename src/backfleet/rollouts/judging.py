"""Who may move which member: asked of the operations, whose policies decide."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Final, Protocol

from backfleet.identity import Caller, read_caller
from backfleet.rollouts.model import Member
from backfleet.rollouts.policy import Fault, Kind
from backfleet.rollouts.records import RolloutRecord
from backfleet.storage import Transaction
from backfleet_host.texts import counted

NO_PERMISSION: Final = "NoPermission"
"""The code of a member whom the starter may not move."""

SHOWN: Final = 5  # ids named in a fault, and reasons given


class Judge(Protocol):
    """What one caller may do now, by policies that were read once."""

    def starting(self, rollout_id: str) -> str:
        """Return why the caller may not move anything by this rollout; "" if they may."""

    def moving(self, clients: Mapping[str, str]) -> dict[str, str]:
        """Return why the caller may not move some of these clients, which come with their instances."""

    def of_settings(self) -> "Judge":
        """Return what the caller may do where clients are given settings: moving one is that, then."""

    def of_installs(self) -> "Judge":
        """Return what the caller may do where clients are installed: moving one is that, then."""


def judge_for(judge: Judge, kind: str) -> Judge:
    """Return what a caller may do by a rollout of a kind."""
    if kind == Kind.INSTALL:
        return judge.of_installs()
    return judge.of_settings() if kind == Kind.SETTINGS else judge


ReadJudge = Callable[[Transaction, Caller, str, datetime], Judge]
"""Reads what a caller may do: (transaction, caller, region, now)."""


def judge_of_starter(tx: Transaction, record: RolloutRecord, read_judge: ReadJudge, now: datetime) -> Judge:
    """Return what whoever started a rollout may do by it now; of one that nobody has started, its author."""
    starter = read_caller(record.starter or record.author)
    return judge_for(read_judge(tx, starter, record.region, now), record.kind)


def start_fault(judge: Judge, rollout_id: str, wanted: str) -> list[Fault]:
    """Return that a caller may not start a rollout, as a fault with what to do; nothing where they may."""
    refused = judge.starting(rollout_id)
    return [Fault(0, "start", refused, wanted)] if refused else []


def faults_of(judge: Judge, members: Iterable[Member], kind: str) -> list[Fault]:
    """Return the members that a policy's author may not move, as faults: one for each statement that refuses some."""
    is_install = kind == Kind.INSTALL
    noun, meant = ("host", "on which you may not install") if is_install else ("client", "that you may not upgrade")
    clients = {member.client_id: member.instance_id for member in members}
    refused = judge.moving(clients)
    by_reason: dict[str, list[str]] = defaultdict(list)
    for client_id, why in sorted(refused.items()):
        by_reason[why.replace(client_id, "...").replace(clients[client_id], "...")].append(client_id)
    faults = []
    for why, client_ids in list(by_reason.items())[:SHOWN]:
        named = ", ".join(client_ids[:SHOWN])
        wanted = f"exclude them, or have it applied by somebody who may move them. {why}"
        faults.append(Fault(0, "select", f"{counted(len(client_ids), noun)} {meant} ({named})", wanted))
    return faults
