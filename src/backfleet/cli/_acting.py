"""What the verbs on clients and hosts share: choose, show or ask, start, wait, report."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import click

from backfleet.cli._choosing import CLIENT_PREFIX, Target, Wanted, split
from backfleet.cli._client import CallFailed, Client
from backfleet.cli._confirming import FEW, Plan, can_answer, confirm, show_plan, yes_option
from backfleet.cli._options import PARTLY, fail
from backfleet.cli._print import say
from backfleet.cli._progress import FINE, Item, as_document, is_over, items_of
from backfleet.cli._starting import NO_VALID_INSTANCE, Order, Started, start
from backfleet.cli._tables import Output, output_options, print_table
from backfleet.cli._targets import NOTHING_NAMED, chosen_clients, chosen_hosts
from backfleet.cli._waiting import stoppable
from backfleet.cli._watching import have_succeeded, show_ended, wait_for
from backfleet.values import value_object

ON_ITS_WAY: Final = "UpgradeInProgress"
MOST_PREVIEWED: Final = 100  # ids in one call: the API's maximum


@value_object
class Verb:
    """What a command does to its targets."""

    word: str  # such as "upgrade"
    order: Order
    then: Callable[[Target], str]  # what a target has afterwards, for people
    removes: bool = False
    is_current: Callable[[Target], bool] = lambda _target: False  # whether nothing is to be done with it
    preview: str = ""  # the Kind of PreviewClients that tells what would be refused; "" = none does


@value_object
class Switches:
    """The options that every verb has."""

    wait: bool
    yes: bool
    dry_run: bool


def acting_options(command: Any) -> Any:
    """Give a command --wait, --yes, --dry-run and the options of its output."""
    command = click.option("--wait", is_flag=True, help="Show progress until the tasks end.")(command)
    return yes_option(output_options(command))


def carry_out(api: Client, verb: Verb, wanted: Wanted, switches: Switches, output: Output) -> None:
    """Do what a verb does to what is wanted, or show it, or ask first."""
    if wanted.is_empty:
        raise click.UsageError(NOTHING_NAMED)
    if can_be_sent_as_it_is(wanted, switches, removes=verb.removes):
        _start(api, verb, wanted.texts, {}, switches.wait, output)
        return
    targets = (chosen_clients if verb.order.takes_clients else chosen_hosts)(api, wanted)
    plan = Plan(verb.word, targets, verb.then, verb.removes, sum(map(verb.is_current, targets)))
    if switches.dry_run:
        show_plan(replace(plan, refused=_refusals(api, verb, targets)), output)
        return
    confirm(
        plan, has_yes=switches.yes, is_by_id=wanted.is_by_id, is_more_than_named=is_more_than_named(targets, wanted)
    )
    names = {target.instance_id: target.label for target in targets}
    _start(api, verb, [target.id for target in targets], names, switches.wait, output)


def _refusals(api: Client, verb: Verb, targets: Sequence[Target]) -> dict[str, tuple[str, str]]:
    """Return code and reason of each client that the server would refuse. Where it does not tell, a note says so."""
    found: dict[str, tuple[str, str]] = {}
    if not verb.preview:
        return found
    asked = {name: verb.order.parameters.get(name) for name in ("ReleaseVersion", "ExpiresInSeconds")}
    try:
        for part in split([target.id for target in targets], MOST_PREVIEWED):
            answer = api.call("backfleet", "PreviewClients", ClientIds=part, Kind=verb.preview, **asked)
            found |= {
                each["ClientId"]: (each["ErrorCode"], each["ErrorMessage"])
                for each in answer["Clients"]
                if each["ErrorCode"]
            }
    except CallFailed as problem:
        say(f"note: what would be refused is not known: {problem.message}", err=True)
        return {}
    return found


def can_be_sent_as_it_is(wanted: Wanted, switches: Switches, *, removes: bool) -> bool:
    """Return whether ids can go to the server without a look at what they name: there is nothing to show or to ask."""
    if switches.dry_run or not wanted.is_by_id:
        return False
    return switches.yes or (not removes and not (can_answer() and len(wanted.texts) > FEW))


def is_more_than_named(targets: Sequence[Target], wanted: Wanted) -> bool:
    """Return whether a host has several clients among the targets, of which one was not named by its own id."""
    on_host = Counter(target.instance_id for target in targets)
    texts = set(wanted.texts)
    return any(on_host[target.instance_id] > 1 and target.client_id not in texts for target in targets)


def _start(api: Client, verb: Verb, ids: Sequence[str], names: dict[str, str], wait: bool, output: Output) -> None:
    wrong = [] if verb.order.takes_clients else [each for each in ids if each.startswith(CLIENT_PREFIX)]
    if wrong:
        raise click.UsageError(f"{wrong[0]!r} is a client; name its host")
    so_far = Started()
    with stoppable(lambda: _stopped_lines(so_far)):
        start(api, verb.order, ids, so_far)
    if so_far.failure is not None:
        _fail_in_part(so_far)
    if not so_far.task_ids:
        _fail_of_all(so_far, output)
    if not wait:
        refused = _refused_at_once(api, so_far.task_ids)
        _report_started(so_far, output)
        if refused:
            _fail_of_items(refused)
        return
    if so_far.unreachable and output.form == "table":
        print_table(("REFUSED INSTANCE", "CODE"), [(s["InstanceId"], s["ErrorCode"]) for s in so_far.unreachable])
    tasks = wait_for(api, so_far.task_ids, draw=output.form == "table", names=names, has_answered=True)
    if output.is_json:
        documents = [as_document(each) for each in tasks]
        output.show(
            (), [], _document(so_far) | ({"Task": documents[0]} if len(documents) == 1 else {"Tasks": documents})
        )
    else:
        show_ended(tasks, output)
    raise SystemExit(0 if have_succeeded(tasks) and not so_far.unreachable else 1)


def _refused_at_once(api: Client, task_ids: Sequence[str]) -> list[Item]:
    """Return the items of tasks of which nothing can be done; none, if anything goes on, or the server does not tell.

    The answer of the call that starts a task has no codes of its items. The first task with one that goes on is the
    last that is asked for: nearly always one call. A client that another task is moving already is on its way.
    """
    items: list[Item] = []
    for task_id in task_ids:
        try:
            task = api.call("hbr", "DescribeTask", TaskId=task_id)
        except CallFailed:  # whoever may start a task may not be one who may read it
            return []
        found = items_of(task)
        if not is_over(task) or not all(map(_is_refused, found)):
            return []
        items += found
    return items


def _is_refused(item: Item) -> bool:
    return item.get("errorCode") not in (*FINE, ON_ITS_WAY)


def _fail_of_items(refused: Sequence[Item]) -> None:
    """Report that nothing can be done, with the reason that most items have, and end."""
    (code, why), number = Counter((item["errorCode"], item["message"]) for item in refused).most_common(1)[0]
    of_all = f", {number} of {len(refused)}" if len(refused) > 1 else ""
    fail(f"nothing can be done of it{of_all}: {why}", code=str(code), refused=len(refused))


def _document(so_far: Started) -> dict[str, Any]:
    """Return what JSON shows of calls: the answer, if there was one, and in any case the ids of all tasks."""
    first = so_far.answers[0] if len(so_far.answers) == 1 else {}
    return {**first, "TaskIds": so_far.task_ids, "InstanceStatuses": so_far.statuses}


def _report_started(so_far: Started, output: Output) -> None:
    if output.form != "table":
        output.show(("TASK",), [(each,) for each in so_far.task_ids], _document(so_far))
        return
    for status in so_far.unreachable:
        say(f"{status['InstanceId']}: not started: {status['ErrorCode']}")
    say(f"{', '.join(so_far.task_ids)} started; follow with `backfleet task watch {' '.join(so_far.task_ids)}`")


def _stopped_lines(so_far: Started) -> list[str]:
    """Return what an interrupt between calls, or in one, leaves."""
    lines = []
    if so_far.task_ids:
        ids = " ".join(so_far.task_ids)
        lines += [f"stopped; started so far, and going on: {ids}", f"go on with `backfleet task wait {ids}`"]
    if so_far.in_flight:
        lines.append("a call had no answer yet: it may have started a task; `backfleet task list` shows it")
    return lines or ["stopped; nothing was started"]


def _fail_in_part(so_far: Started) -> None:
    problem = so_far.failure
    assert problem is not None  # noqa: S101 -- for the type checker
    code, request = str(problem.answer.get("Code", "")), problem.answer.get("RequestId", "")
    ids = so_far.task_ids
    if not ids:
        fail(f"{problem.message}; nothing was started", code=code, requestId=request)
    fail(
        f"{problem.message}. Started before, and going on: {' '.join(ids)} (`backfleet task wait {' '.join(ids)}`); "
        f"not asked for: {so_far.left} of the hosts or clients",
        code=code, exit_code=PARTLY, requestId=request, taskIds=ids, left=so_far.left,
    )  # fmt: skip


def _fail_of_all(so_far: Started, output: Output) -> None:
    if output.form == "table":
        print_table(("INSTANCE", "CODE"), [(s["InstanceId"], s["ErrorCode"]) for s in so_far.statuses])
    fail("none of the instances can be given work", code=NO_VALID_INSTANCE, instanceStatuses=so_far.statuses)
