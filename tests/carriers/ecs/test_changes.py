"""What changes in a cloud while orders are under way: who owns an instance, where it is, keys, roles, permissions."""

import itertools
import threading
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from backfleet import commands, fleet
from backfleet.carriers import ecs
from backfleet.carriers.ecs import _store
from backfleet.carriers.ecs.model import AgentStatus, Batch, EcsAccount, EcsProblem, Page, Selection, Source, Trouble
from backfleet.carriers.ecs.round import Round
from backfleet.carriers.ecs.rounds import run_round
from backfleet.carriers.ecs.sending import take
from backfleet.carriers.ecs.worker import Worker
from backfleet.commands import State
from backfleet.operations.catalogue import BACKFLEET
from carriers.ecs.conftest import Scene
from carriers.ecs.test_rounds import DONE
from carriers.ecs.test_rounds import two as two  # noqa: PLC0414 - a fixture

REVOKED = EcsProblem("EcsKeyRefused", "the key is not active", Trouble.ACCOUNT, "InvalidAccessKeyId.Inactive")
NO_ROLE = EcsProblem("EcsKeyRefused", "the role does not exist", Trouble.ACCOUNT, "EntityNotExist.Role")
MINUTE = 61.0


def forbidden(action: str) -> EcsProblem:
    return EcsProblem("EcsPermissionMissing", f"ecs:{action} is not permitted", Trouble.ACCOUNT, "NoPermission")


def refreshed(scene: Scene, times: int = 1) -> None:
    """Let so many refreshes pass."""
    for _ in range(times):
        scene.round(after=MINUTE)
        scene.round(after=1)


def instance(scene: Scene, instance_id: str) -> fleet.Instance:
    with scene.database.reading() as tx:
        found = fleet.instance(tx, scene.account.account_id, instance_id)
    assert found is not None
    return found


# --- Two cloud accounts, one instance -------------------------------------------------------------------------------


def beside(scene: Scene) -> EcsAccount:
    """Return another cloud account that shows the same instances, and has imported them."""
    other = EcsAccount(scene.account.account_id, "second", Source.KEY, scene.now)
    with scene.database.transaction() as tx:
        ecs.add_account(tx, other)
        draw = scene.env.services.draw
        ecs.add_import(tx, other.account_id, "second", Selection("cn-beijing"), now=scene.now, draw=draw)
    run_round(scene.means(), other, 0.0)
    return other


def import_of(scene: Scene, name: str) -> ecs.EcsImport:
    with scene.database.reading() as tx:
        (found,) = [one for one in ecs.imports_of(tx, scene.account.account_id) if one.ecs_account == name]
    return found


def test_an_instance_of_two_cloud_accounts_is_one_host_of_the_first(two: Scene) -> None:
    """The second import says so, with the name of the first; an order goes to the host once."""
    beside(two)
    told = import_of(two, "second")
    assert (told.found, told.problem_code) == (2, "EcsImportedElsewhere")
    assert "i-1 and 1 more came by the cloud account cloud" in told.problem
    with two.database.reading() as tx:
        assert _store.count_hosts(tx, two.account.account_id) == 2
    two.send("i-1")
    two.round()
    two.cloud.ends = {"i-1": DONE}
    two.round()
    assert (two.news()["i-1"].state, two.cloud.runs_of("i-1")) == (State.FINISHED, 1)


def test_an_instance_that_the_first_gave_up_goes_to_the_second(two: Scene) -> None:
    other = beside(two)
    with two.database.transaction() as tx:
        ecs.delete_import(tx, two.account.account_id, import_of(two, "cloud").import_id)
        assert fleet.deregister(tx, "i-1", now=two.now)
        ecs.forget_host(tx, "i-1")
    two.now += timedelta(seconds=MINUTE)
    run_round(two.means(), other, 0.0)
    with two.database.reading() as tx:
        (moved,) = _store.hosts_of(tx, other)
    assert moved.remote_id == "i-1"
    assert "i-2 came by the cloud account cloud" in import_of(two, "second").problem


# --- An instance changes --------------------------------------------------------------------------------------------


def test_an_address_and_an_agents_version_follow_the_cloud(two: Scene) -> None:
    """Its name was taken on once: people may have renamed it here."""
    before = instance(two, "i-1")
    two.cloud.instances_there["i-1"] = replace(two.cloud.instances_there["i-1"], name="renamed", address="10.9.9.9")
    two.cloud.agents_there["i-1"] = AgentStatus(True, "3.0.0", None)
    refreshed(two)
    after = instance(two, "i-1")
    assert (after.intranet_ip, after.agent_version, after.name) == ("10.9.9.9", "cloud assistant 3.0.0", before.name)
    assert (after.platform, after.machine_id, after.hostname) == (before.platform, before.machine_id, before.hostname)


def test_an_instance_that_is_found_in_another_region_is_moved_there(two: Scene) -> None:
    page = two.cloud.page

    def regional(selection: Selection, token: str = "") -> Page:
        found = page(selection, token)
        here = [one for one in found.instances if (one.remote_id == "i-1") == (selection.region == "cn-shanghai")]
        return Page(tuple(here), found.following)

    two.cloud.page = regional  # type: ignore[method-assign]
    with two.database.transaction() as tx:
        chosen, draw = Selection("cn-shanghai"), two.env.services.draw
        ecs.add_import(tx, two.account.account_id, "cloud", chosen, now=two.now, draw=draw)
    refreshed(two, 3)
    moved = two.host("i-1")
    assert moved is not None
    assert (moved.region, moved.misses, moved.problem_code, two.reachability("i-1")) == ("cn-shanghai", 0, "", "")
    with two.database.reading() as tx:
        assert _store.count_hosts(tx, two.account.account_id) == 2


def test_an_order_on_an_instance_that_stops_is_over_within_a_minute(two: Scene) -> None:
    """Also where the cloud says for ever that the command runs: nothing runs on a machine that is off."""
    two.send("i-1", "i-2")
    two.round()
    two.cloud.boot("i-1", status="Stopped")
    refreshed(two)
    news = two.news()
    assert (news["i-1"].state, news["i-2"].state) == (State.LOST, State.RUNNING)
    assert two.reachability("i-1") == "InstanceNotRunning"
    two.cloud.ends = {"i-2": DONE}
    two.round()
    assert two.news()["i-2"].state is State.FINISHED


def test_an_order_on_an_instance_that_is_released_ends_when_the_cloud_has_it_no_more(two: Scene) -> None:
    """After the third look, also where the cloud goes on to say that it runs."""
    two.send("i-1", "i-2")
    two.round()
    del two.cloud.instances_there["i-1"]
    refreshed(two, 3)
    assert (two.news()["i-1"].state, two.host("i-1")) == (State.GONE, None)
    two.cloud.ends = {"i-1": DONE, "i-2": DONE}
    two.round()
    assert (two.news()["i-2"].state, two.is_free()) == (State.FINISHED, True)


# --- Keys, roles, permissions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", [REVOKED, NO_ROLE], ids=["key", "role"])
def test_what_is_taken_away_during_a_wave_and_given_back_loses_nothing(two: Scene, problem: EcsProblem) -> None:
    """What runs is heard of afterwards; what was not sent fails with the reason; the next orders run."""
    two.send("i-1")
    two.round()
    two.cloud.fail["open"] = [problem] * 1000
    two.send("i-2")
    for _ in range(4):
        two.round(after=30)
    news = two.news()
    assert (news["i-1"].state, two.account_problem()) == (State.RUNNING, "EcsKeyRefused")
    assert (news["i-2"].state, news["i-2"].error_code) == (State.FAILED, "EcsKeyRefused")
    known = two.host("i-1")
    assert known is not None
    assert known.misses == 0
    two.cloud.fail.clear()
    two.cloud.ends = {"i-1": DONE, "i-2": DONE}
    two.send("i-2")
    refreshed(two)
    assert {each: one.state for each, one in two.news().items()} == dict.fromkeys(("i-1", "i-2"), State.FINISHED)
    assert (two.account_problem(), two.cloud.runs_of("i-1"), two.cloud.runs_of("i-2")) == ("", 1, 1)


def test_a_missing_permission_to_run_commands_is_said_and_instances_are_looked_at(two: Scene) -> None:
    two.cloud.fail["run"] = [forbidden("RunCommand")] * 100
    two.send("i-1")
    refreshed(two)
    one = two.news()["i-1"]
    assert (one.error_code, "ecs:RunCommand" in one.error_text) == ("EcsPermissionMissing", True)
    two.cloud.boot("i-2", status="Stopped")
    refreshed(two)
    assert (two.reachability("i-1"), two.reachability("i-2")) == ("", "InstanceNotRunning")


def test_a_missing_permission_to_read_results_is_said_and_the_order_ends_in_doubt(two: Scene) -> None:
    two.cloud.fail["results"] = [forbidden("DescribeInvocationResults")] * 10_000
    two.send("i-1")
    for _ in range(14):
        two.round(after=30)
    assert two.news()["i-1"].state is State.LOST
    assert two.account_problem() == "EcsPermissionMissing"
    assert two.reachability("i-1") == ""


def test_a_missing_permission_to_stop_keeps_no_other_order_from_its_end(two: Scene) -> None:
    two.send("i-1")
    two.round()
    two.stop("i-1")
    two.send("i-2", content="other")
    two.cloud.fail["stop"] = [forbidden("StopInvocation")] * 100
    two.round()
    two.cloud.ends = {"i-2": DONE, "i-1": DONE}
    two.round()
    two.round()
    assert two.news()["i-2"].state is State.FINISHED


def test_a_missing_permission_to_see_agents_makes_nobody_stopped_or_gone(two: Scene) -> None:
    two.cloud.fail["agents"] = [forbidden("DescribeCloudAssistantStatus")] * 10_000
    refreshed(two, 6)
    known = two.host("i-1")
    assert known is not None
    assert (known.misses, two.account_problem()) == (0, "EcsPermissionMissing")
    two.cloud.fail.clear()
    refreshed(two)
    assert (two.account_problem(), two.reachability("i-1")) == ("", "")


def test_doctor_says_why_a_cloud_account_does_not_answer(two: Scene) -> None:
    text = "ecs:DescribeInstances was refused: this server's clock shows 1, the cloud's 2"
    two.cloud.fail["instances"] = [EcsProblem("EcsClockWrong", text, Trouble.ACCOUNT, "InvalidTimeStamp.Expired")] * 9
    refreshed(two)
    _, health = two.env.ask(BACKFLEET.version, "GetServerHealth")
    (found,) = [each for each in health["Findings"] if each["Code"] == "CloudAccounts"]
    assert (found["Severity"], found["Subjects"]) == ("Error", ["cloud"])
    assert f"EcsClockWrong: {text}" in found["Found"]


# --- Copies of our server, and several of it ------------------------------------------------------------------------


def test_a_restored_copy_sends_nothing_and_its_key_may_be_gone(two: Scene) -> None:
    """What was taken before the copy is ended here, not sent; a key that was removed since is said, and harmless."""
    two.send("i-1")
    two.round()
    two.send("i-2", content="other")
    take(Round(two.means(), two.account))
    with two.database.transaction() as tx:
        commands.end_open(tx, now=two.now)
    two.cloud.fail["open"] = [REVOKED] * 1000
    for _ in range(8):
        two.round(after=MINUTE)
    assert two.account_problem() == "EcsKeyRefused"
    assert (two.cloud.runs_of("i-1"), two.cloud.runs_of("i-2")) == (1, 0)
    assert two.host("i-2") is not None
    two.cloud.fail.clear()
    two.round(after=MINUTE)
    assert two.cloud.runs_of("i-2") == 0


def test_two_replicas_ask_one_cloud_account_and_nothing_happens_twice(two: Scene) -> None:
    """Both look for work all the time; each batch is sent by one of them, once."""
    together: Counter[str] = Counter()
    asking, guard = itertools.count(), threading.Lock()
    run = two.cloud.run

    def counted(batch: Batch) -> str:
        with guard:
            together[batch.token] += 1
        next(asking)
        return run(batch)

    two.cloud.run = counted  # type: ignore[method-assign]
    two.send(*["i-1", "i-2"])
    two.send("i-1", content="other")
    replicas = [Worker(two.database, two.means) for _ in range(2)]
    for _ in range(12):
        two.now += timedelta(seconds=2)
        _at_once([replica.run_once for replica in replicas], two)
    assert set(together.values()) == {1}
    assert (two.cloud.runs_of("i-1"), two.cloud.runs_of("i-2")) == (2, 1)


def _at_once(calls: list[Any], scene: Scene) -> None:
    """Make these calls at once, and wait until their rounds are over."""
    threads = [threading.Thread(target=call, args=(scene.now,)) for call in calls]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    for each in threading.enumerate():
        if each.name == "ecs":
            each.join()
