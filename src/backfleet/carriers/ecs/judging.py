"""What the cloud's newest word makes of an instance here: it runs, it is stopped, its agent is away, or it is gone."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from backfleet import commands, fleet
from backfleet.carriers.ecs import _batches, _store
from backfleet.carriers.ecs.accounts import remove_gone
from backfleet.carriers.ecs.model import (
    AGENT_NOT_RUNNING,
    COMMAND_REFUSED,
    INSTANCE_NOT_FOUND,
    INSTANCE_NOT_RUNNING,
    AgentStatus,
    CloudInstance,
    EcsHost,
)
from backfleet.carriers.ecs.reading import IN_DOUBT
from backfleet.carriers.ecs.round import Round
from backfleet.carriers.facts import FACTS, read_facts
from backfleet.commands import NewInvocation, State
from backfleet.fleet import Heartbeat
from backfleet.storage import Transaction

RUNNING: Final = "Running"
STOPPED: Final = "Stopped"
SILENT_FOR: Final = timedelta(minutes=10)  # an agent that the cloud has not heard for longer is not there
WORD_LASTS: Final = timedelta(minutes=10)  # how long the newest word counts while the cloud does not answer
MOST_MISSES: Final = 3  # refreshes in a row that do not find an instance, until it is gone
QUESTIONS: Final = "ecs facts"  # the topic of questions to hosts what they are
QUESTION_SECONDS: Final = 60
ASK_AGAIN: Final = 300  # seconds until a host is asked again what it is


def judge_missing(tx: Transaction, host: EcsHost, *, now: datetime) -> None:
    """Record that the cloud does not list an instance; deregister it after MOST_MISSES times."""
    if host.misses + 1 >= MOST_MISSES:
        remove_gone(tx, host, now=now)
        return
    text = f"the cloud has no instance {host.remote_id} in {host.region}"
    values = {**_problem(INSTANCE_NOT_FOUND, text), "misses": host.misses + 1, "checked_at": now}
    _store.note_host(tx, host.instance_id, values)


def judge_stopped(this: Round, tx: Transaction, host: EcsHost, status: str, *, now: datetime) -> None:
    """Record that an instance does not run. What ran on it is over, whatever the cloud still says of it: in doubt."""
    fleet.note_shutdown(tx, host.instance_id, now=now)
    if status == STOPPED:
        for batch in _batches.of_instance(tx, this.account, host.instance_id):
            if batch.invoke_id:
                this.end(tx, batch, [run for run in batch.runs if run.instance_id == host.instance_id], IN_DOUBT)
    _store.note_host(tx, host.instance_id, _heard(now) | _problem(INSTANCE_NOT_RUNNING, f"it is {status}"))


def judge_running(
    this: Round, tx: Transaction, host: EcsHost, one: CloudInstance, agent: AgentStatus | None, *, now: datetime
) -> None:
    """Record what is said of the agent of an instance that runs."""
    is_there = agent is not None and agent.is_installed and not _is_silent(agent, now)
    fleet.note_heartbeats(tx, [Heartbeat(host.instance_id, now, reachable_at=now if is_there else None)])
    if is_there:
        _ask_what_it_is(this, tx, host, one, agent, now)
    text = "" if is_there else "its Cloud Assistant agent is not installed, or not heard by the cloud"
    _store.note_host(tx, host.instance_id, _heard(now) | _problem("" if is_there else AGENT_NOT_RUNNING, text))


def vouch(tx: Transaction, hosts: Sequence[EcsHost], *, now: datetime) -> None:
    """Have the cloud's newest word count on: it does not answer just now, which says nothing of its instances."""
    fleet.note_heartbeats(
        tx, [Heartbeat(host.instance_id, host.asked_at, reachable_at=now) for host in hosts if host.asked_at]
    )


def _heard(now: datetime) -> dict[str, Any]:
    return {"misses": 0, "asked_at": now, "checked_at": now}


def _is_silent(agent: AgentStatus, now: datetime) -> bool:
    return agent.heard_at is not None and agent.heard_at < now - SILENT_FOR


def _problem(code: str, text: str) -> dict[str, Any]:
    return {"problem_code": code, "problem": text}


def _ask_what_it_is(
    this: Round, tx: Transaction, host: EcsHost, one: CloudInstance, agent: AgentStatus | None, now: datetime
) -> None:
    """Have a host say what the cloud does not: which processor it has. It is asked until it is known."""
    known = fleet.instance(tx, host.account_id, host.instance_id)
    if known is None:
        return
    version = f"cloud assistant {agent.version if agent else ''}".strip()
    if known.platform:
        seen = replace(known, intranet_ip=one.address[:64] or known.intranet_ip, agent_version=version[:64])
        if seen != known:  # its address changes with its network card, and its agent upgrades itself
            fleet.note_facts(
                tx, host.instance_id, hostname=known.hostname, machine_id=known.machine_id, os_type=known.os_type,
                os_version=known.os_version, platform=known.platform, address=seen.intranet_ip, agent_version=version,
            )  # fmt: skip
        return
    fleet.note_facts(
        tx, host.instance_id, hostname=one.hostname, machine_id="", os_type=one.os_type or "linux",
        os_version=one.os_name, platform="", address=one.address, agent_version=version,
    )  # fmt: skip
    if one.os_type not in ("", "linux"):
        return
    number = int(now.timestamp()) // ASK_AGAIN
    question = NewInvocation(host.account_id, host.instance_id, FACTS, QUESTION_SECONDS, f"{host.instance_id}/{number}")
    commands.send(tx, [question], topic=QUESTIONS, now=now, draw=this.means.draw)


def read_answers(this: Round) -> None:
    """Record what hosts answered to the question what they are."""
    means = this.means
    with means.database.reading() as tx:
        if not commands.has_news(tx, QUESTIONS):
            return
    with means.database.transaction() as tx:
        news = commands.outcomes(tx, QUESTIONS, limit=100)
        for one in news:
            host = _store.hosts(tx, [one.instance_id]).get(one.instance_id)
            known = fleet.instance(tx, host.account_id, one.instance_id) if host else None
            if known is None or one.state is not State.FINISHED:
                continue
            try:
                facts = read_facts(one.output.decode(errors="replace"))
            except ValueError as problem:
                _store.note_host(tx, one.instance_id, _problem(COMMAND_REFUSED, str(problem)[:300]))
                continue
            facts = {name: facts[name] for name in ("platform", "os_type", "os_version", "hostname", "machine_id")}
            fleet.note_facts(tx, one.instance_id, **facts, address=known.intranet_ip, agent_version=known.agent_version)
        commands.mark_collected(tx, news)
        commands.drop_before(tx, QUESTIONS, means.clock() - timedelta(hours=1))
