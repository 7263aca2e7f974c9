"""Bring imports and instances up to date, one call of the cloud after the other. What was read stays read.

How far a refresh is, is stored with every answer: the next round goes on there, in whichever process.
"""

from dataclasses import replace
from typing import Any, Final

from backfleet.carriers.ecs import _store, progress
from backfleet.carriers.ecs.accounts import TooMany, owner_of_others, register
from backfleet.carriers.ecs.judging import RUNNING, WORD_LASTS, judge_missing, judge_running, judge_stopped, vouch
from backfleet.carriers.ecs.model import (
    BAD_ANSWER,
    COMMAND_REFUSED,
    IMPORTED_ELSEWHERE,
    INSTANCE_NOT_FOUND,
    MOST_AT_ONCE,
    CloudInstance,
    EcsHost,
    EcsImport,
    EcsProblem,
    Selection,
    Trouble,
)
from backfleet.carriers.ecs.progress import Progress, Stream
from backfleet.carriers.ecs.round import Round
from backfleet.storage import Transaction

CALLS_AT_ONCE: Final = 20  # in one round: what runs in the cloud is asked about in between


def refresh(this: Round) -> bool:
    """Go on with the refresh of a cloud account. Return whether it is over.

    Raises:
        EcsProblem: a call had no answer, and is made again in a later round; or the refresh is over, and something of
            it was refused.
    """
    for number in range(CALLS_AT_ONCE):
        if number and this.is_long:
            return False
        so_far, imports, name = _next(this)
        if name is None:
            _finish(this, so_far)
            return True
        try:
            if name.startswith("import/"):
                _read_import(this, so_far, name, imports[name.removeprefix("import/")])
            else:
                _read_region(this, so_far, name)
        except EcsProblem as problem:
            _note_problem(this, so_far, name, problem, imports)
            if problem.trouble is Trouble.PASSES:
                raise
        else:
            this.has_heard = True
    return False


def _next(this: Round) -> tuple[Progress, dict[str, EcsImport], str | None]:
    account = this.account
    with this.means.database.reading() as tx:
        now = this.means.clock()
        stored = progress.from_text(_store.progress_of(tx, account))
        so_far = stored if stored and stored.began_at <= now + _store.CLOCKS_DIFFER else Progress(now)
        imports = {one.import_id: one for one in _store.imports_of(tx, account.account_id, account.name)}
        regions = _store.regions_to_ask(tx, account, so_far.began_at, now)
    return so_far, imports, progress.next_stream(so_far, list(imports), regions)


def _finish(this: Round, so_far: Progress) -> None:
    with this.means.database.transaction() as tx:
        _store.note_progress(tx, this.account, "")
        _store.refresh_at(tx, this.account, this.means.clock() + this.means.every)
    code, text = so_far.problem
    if code:
        raise EcsProblem(code, text, Trouble.ACCOUNT)


def _note(this: Round, tx: Transaction, so_far: Progress, name: str, stream: Stream) -> None:
    _store.note_progress(tx, this.account, progress.as_text(so_far.having(name, stream)))


def _note_problem(this: Round, so_far: Progress, name: str, problem: EcsProblem, imports: dict[str, EcsImport]) -> None:
    """Record a call that failed. What was read before, and what is known of instances, stays."""
    reason, now = (problem.code, problem.message), this.means.clock()
    stream = so_far.of(name)
    again = progress.begun_again(stream) if problem.trouble is Trouble.COMMAND else None
    if again is not None:
        after = so_far.having(name, again)
    elif problem.trouble is Trouble.PASSES:
        after = progress.failed(so_far, name, reason)
    else:
        after = progress.refused(so_far, name, reason)
    with this.means.database.transaction() as tx:
        if problem.trouble is Trouble.PASSES and (not after.vouched_at or now >= after.vouched_at + this.means.every):
            after = replace(after, vouched_at=now)
            vouch(tx, _store.overdue_hosts(tx, this.account, now - WORD_LASTS, now - this.means.every), now=now)
        _store.note_progress(tx, this.account, progress.as_text(after))
        if name.startswith("import/") and again is None:
            values = {"problem_code": problem.code, "problem": problem.message}
            _store.note_import(tx, imports[name.removeprefix("import/")].import_id, values)


def _read_import(this: Round, so_far: Progress, name: str, one: EcsImport) -> None:
    """Read the next page of an import, and register what is new on it."""
    stream, chosen, means = so_far.of(name), one.selection, this.means
    if stream.is_unsure:
        this.cloud(chosen.region).check_permission()
        with means.database.transaction() as tx:
            _end_import(this, tx, one, stream, _what_is_missing(this, one, stream))
            _note(this, tx, so_far, name, progress.permission_is_there(stream))
        return
    ids = chosen.instance_ids
    parts = [ids[at : at + MOST_AT_ONCE] for at in range(0, len(ids), MOST_AT_ONCE)] or [()]
    page = this.cloud(chosen.region).page(replace(chosen, instance_ids=parts[stream.part]), stream.token)
    found = [each for each in page.instances if not ids or each.remote_id in ids]
    after = progress.page_read(stream, [each.remote_id for each in found], page.following, len(parts))
    if page.following and (page.following == stream.token or after.pages >= progress.MOST_PAGES):
        text = f"the cloud lists instances without an end (page {after.pages}). Is it the endpoint?"
        raise EcsProblem(this.account.code(BAD_ANSWER), text, Trouble.ACCOUNT)
    present = {each.remote_id for each in found} if ids else set()
    after = replace(after, present=tuple(sorted({*stream.present, *present})))
    try:
        with means.database.transaction() as tx:
            others = owner_of_others(tx, this.account, chosen.region, found)
            after = replace(after, elsewhere=after.elsewhere or _whose(others))
            register(tx, this.account, chosen.region, means.region, found, now=means.clock(), draw=means.draw)
        problem = _what_is_missing(this, one, after)
    except TooMany:
        problem = _problem(this, COMMAND_REFUSED, "the account has as many instances as it may")
        after = replace(after, is_over=True, is_unsure=False)
    with means.database.transaction() as tx:
        if after.is_over:
            _end_import(this, tx, one, after, problem)
        _note(this, tx, so_far, name, after)


def _whose(others: list[EcsHost]) -> str:
    """Return which instances another cloud account reaches; "" if none."""
    if not others:
        return ""
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return f"{others[0].remote_id}{more} came by the cloud account {others[0].ecs_account}, which reaches it"


def _what_is_missing(this: Round, one: EcsImport, stream: Stream) -> dict[str, str]:
    missing = sorted(set(one.selection.instance_ids) - set(stream.present))
    if missing:
        what = f"{missing[0]} and {len(missing) - 1} more are" if len(missing) > 1 else f"{missing[0]} is"
        return _problem(this, INSTANCE_NOT_FOUND, f"{what} not in {one.selection.region}")
    if stream.elsewhere:
        return _problem(
            this, IMPORTED_ELSEWHERE, f"{stream.elsewhere}; delete that one's import, and deregister it, first"
        )
    if not stream.found:
        return _problem(this, INSTANCE_NOT_FOUND, f"no instance of {one.selection.region} is selected")
    return _problem(this, "", "")


def _problem(this: Round, code: str, text: str) -> dict[str, str]:
    return {"problem_code": this.account.code(code), "problem": text}


def _end_import(this: Round, tx: Transaction, one: EcsImport, stream: Stream, problem: dict[str, str]) -> None:
    values: dict[str, Any] = {"synced_at": this.means.clock(), "found": stream.found, **problem}
    _store.note_import(tx, one.import_id, values)


def _read_region(this: Round, so_far: Progress, name: str) -> None:
    """Ask about the next instances of a region, or about the agents of those that were found to run."""
    region, stream = name.removeprefix("region/"), so_far.of(name)
    if progress.is_stale(stream, this.means.clock()):
        stream = progress.all_judged(stream)
    if stream.is_unsure:
        this.cloud(region).check_permission()
        _judge_listed(this, so_far, name, progress.permission_is_there(stream), {})
    elif stream.listed:
        _judge_agents(this, so_far, name, stream)
    else:
        with this.means.database.reading() as tx:
            ids = _store.next_to_ask(tx, this.account, region, so_far.began_at, this.means.clock(), MOST_AT_ONCE)
        found = _named(this, region, ids)
        running = tuple(one for one in found.values() if one.status == RUNNING)
        after = progress.instances_listed(stream, ids, running, found=len(found), now=this.means.clock())
        _judge_listed(this, so_far, name, after, {each: one.status for each, one in found.items()})


def _named(this: Round, region: str, ids: tuple[str, ...]) -> dict[str, CloudInstance]:
    """Return what the cloud says of these instances, at most 50. Raises EcsProblem."""
    found: dict[str, CloudInstance] = {}
    token = ""
    for _ in range(len(ids)):  # one page, but for a cloud that makes shorter ones than were asked for
        page = this.cloud(region).page(Selection(region, ids), token)
        found |= {one.remote_id: one for one in page.instances if one.remote_id in ids}
        token = page.following
        if not token:
            break
    return found


def _judge_listed(this: Round, so_far: Progress, name: str, stream: Stream, statuses: dict[str, str]) -> None:
    """Record which instances are missing, or do not run. Of those that run, the agents are still to be asked about."""
    now, region = this.means.clock(), name.removeprefix("region/")
    with this.means.database.transaction() as tx:
        if not stream.is_unsure:
            for host in _store.hosts_in(tx, this.account, region, stream.asked):
                if host.remote_id not in statuses:
                    judge_missing(this, tx, host, now=now)
                elif statuses[host.remote_id] != RUNNING:
                    judge_stopped(this, tx, host, statuses[host.remote_id], now=now)
            if not stream.listed:
                stream = progress.all_judged(stream)
        _note(this, tx, so_far, name, stream)


def _judge_agents(this: Round, so_far: Progress, name: str, stream: Stream) -> None:
    region, listed = name.removeprefix("region/"), {one.remote_id: one for one in stream.listed}
    agents = this.cloud(region).agents(list(listed))
    now = this.means.clock()
    with this.means.database.transaction() as tx:
        for host in _store.hosts_in(tx, this.account, region, list(listed)):
            judge_running(this, tx, host, listed[host.remote_id], agents.get(host.remote_id), now=now)
        _note(this, tx, so_far, name, progress.all_judged(stream))
