"""What the cloud says of instances: which there are, whether they run, whether their agents are there."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from backfleet import commands, fleet
from backfleet.carriers.ecs import _store
from backfleet.carriers.ecs.accounts import TooMany, register, remove_gone
from backfleet.carriers.ecs.model import (
    AGENT_NOT_RUNNING,
    COMMAND_REFUSED,
    INSTANCE_NOT_FOUND,
    INSTANCE_NOT_RUNNING,
    AgentStatus,
    CloudInstance,
    EcsHost,
    EcsImport,
    EcsProblem,
    Selection,
    Trouble,
)
from backfleet.carriers.ecs.round import Round
from backfleet.carriers.facts import FACTS, read_facts
from backfleet.commands import NewInvocation, State
from backfleet.fleet import Heartbeat
from backfleet.storage import Transaction

RUNNING: Final = "Running"
SILENT_FOR: Final = timedelta(minutes=10)  # an agent that the cloud has not heard for longer is not there
MOST_MISSES: Final = 3  # refreshes in a row that do not find an instance, until it is gone
QUESTIONS: Final = "ecs facts"  # the topic of questions to hosts what they are
QUESTION_SECONDS: Final = 60
ASK_AGAIN: Final = 300  # seconds until a host is asked again what it is


def refresh(this: Round) -> None:
    """Bring the imports and the instances of a cloud account up to date.

    Raises:
        EcsProblem: the cloud was not reached, or refuses all of it.
    """
    means, account = this.means, this.account
    with means.database.reading() as tx:
        imports = _store.imports_of(tx, account.account_id, account.name)
    refused: EcsProblem | None = None
    for one in imports:
        try:
            _bring_in(this, one)
        except EcsProblem as problem:
            _note_import(this, one, {"problem_code": problem.code, "problem": problem.message})
            if problem.trouble is Trouble.PASSES:
                raise
            refused = problem
    with means.database.reading() as tx:
        hosts = _store.hosts_of(tx, account)
    for region in sorted({host.region for host in hosts}):
        try:
            _ask_about(this, region, [host for host in hosts if host.region == region])
        except EcsProblem as problem:
            if problem.trouble is Trouble.PASSES:
                raise
            refused = problem  # one region's: the instances of the others are asked about all the same
    with means.database.transaction() as tx:
        _store.refresh_at(tx, account, means.clock() + means.every)
    if refused is not None:
        raise refused


def _bring_in(this: Round, one: EcsImport) -> None:
    """Register what is new of a selection."""
    means = this.means
    found = this.cloud(one.selection.region).instances(one.selection)
    missing = sorted(set(one.selection.instance_ids) - {each.remote_id for each in found})
    problem = {"problem_code": "", "problem": ""}
    if missing or not found:
        what = (
            f"{missing[0]} and {len(missing) - 1} more are" if len(missing) > 1 else f"{(missing or ['nothing'])[0]} is"
        )
        problem = {"problem_code": INSTANCE_NOT_FOUND, "problem": f"{what} not in {one.selection.region}"}
        if not missing:
            problem["problem"] = f"no instance of {one.selection.region} is selected"
    try:
        with means.database.transaction() as tx:
            register(tx, this.account, one.selection.region, means.region, found, now=means.clock(), draw=means.draw)
    except TooMany:
        problem = {"problem_code": COMMAND_REFUSED, "problem": "the account has as many instances as it may"}
    _note_import(this, one, {"synced_at": means.clock(), "found": len(found), **problem})


def _note_import(this: Round, one: EcsImport, values: dict[str, Any]) -> None:
    with this.means.database.transaction() as tx:
        _store.note_import(tx, one.import_id, values)


def _ask_about(this: Round, region: str, hosts: Sequence[EcsHost]) -> None:
    """Ask about instances, and record what is said of each."""
    ids = tuple(host.remote_id for host in hosts)
    found = {one.remote_id: one for one in this.cloud(region).instances(Selection(region, ids))}
    running = [each for each in ids if each in found and found[each].status == RUNNING]
    agents = this.cloud(region).agents(running) if running else {}
    now = this.means.clock()
    for at in range(0, len(hosts), 100):
        with this.means.database.transaction() as tx:
            for host in hosts[at : at + 100]:
                _note(this, tx, host, found.get(host.remote_id), agents.get(host.remote_id), now)


def _note(
    this: Round,
    tx: Transaction,
    host: EcsHost,
    one: CloudInstance | None,
    agent: AgentStatus | None,
    now: datetime,
) -> None:
    if one is None:
        if host.misses + 1 >= MOST_MISSES:
            remove_gone(tx, host, now=now)
            return
        text = f"the cloud has no instance {host.remote_id} in {host.region}"
        _store.note_host(tx, host.instance_id, {**_problem(INSTANCE_NOT_FOUND, text), "misses": host.misses + 1})
        return
    values: dict[str, Any] = {"misses": 0, "asked_at": now}
    if one.status != RUNNING:
        fleet.note_shutdown(tx, host.instance_id, now=now)
        _store.note_host(tx, host.instance_id, values | _problem(INSTANCE_NOT_RUNNING, f"it is {one.status}"))
        return
    is_there = agent is not None and agent.is_installed and not _is_silent(agent, now)
    fleet.note_heartbeats(tx, [Heartbeat(host.instance_id, now, reachable_at=now if is_there else None)])
    if is_there:
        _ask_what_it_is(this, tx, host, one, agent, now)
    text = "" if is_there else "its Cloud Assistant agent is not installed, or not heard by the cloud"
    _store.note_host(tx, host.instance_id, values | _problem("" if is_there else AGENT_NOT_RUNNING, text))


def _is_silent(agent: AgentStatus, now: datetime) -> bool:
    return agent.heard_at is not None and agent.heard_at < now - SILENT_FOR


def _problem(code: str, text: str) -> dict[str, Any]:
    return {"problem_code": code, "problem": text}


def _ask_what_it_is(
    this: Round, tx: Transaction, host: EcsHost, one: CloudInstance, agent: AgentStatus | None, now: datetime
) -> None:
    """Have a host say what the cloud does not: which processor it has. It is asked until it is known."""
    known = fleet.instance(tx, host.account_id, host.instance_id)
    if known is None or known.platform:
        return
    fleet.note_facts(
        tx, host.instance_id, hostname=one.hostname, machine_id="", os_type=one.os_type or "linux",
        os_version=one.os_name, platform="", address=one.address,
        agent_version=f"cloud assistant {agent.version if agent else ''}".strip(),
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
