"""Rounds with a cloud account: what is sent once, found again, refused, and left in doubt."""

from dataclasses import replace
from datetime import timedelta

import pytest

from backfleet import commands, fleet
from backfleet.carriers.ecs import _store
from backfleet.carriers.ecs.model import Batch, EcsHost, EcsProblem, Page, Result, Selection, Trouble
from backfleet.carriers.ecs.round import Round
from backfleet.carriers.ecs.sending import take
from backfleet.commands import State
from carriers.ecs.conftest import LEASE, OUT_OF_REACH, Scene

REFUSED = EcsProblem("EcsPermissionMissing", "ecs:RunCommand is not permitted", Trouble.ACCOUNT, "NoPermission")
FACTS = b"Linux\naarch64\nweb\nDebian GNU/Linux 13\nmachine\n0\n1767323045\n"
DONE = Result("", "Success", 0, "", "", b"done\n", 0)


@pytest.fixture
def two(scene: Scene) -> Scene:
    """A cloud with two instances that are imported, and have said what they are."""
    for each in ("i-1", "i-2"):
        scene.cloud.boot(each)
        scene.cloud.ends[each] = Result("", "Success", 0, "", "", FACTS, 0)
    scene.import_all()
    for _ in range(2):
        scene.round()
    scene.cloud.ends.clear()
    scene.cloud.sent.clear()
    return scene


def test_one_call_runs_a_command_on_all_and_one_asks_for_all(two: Scene) -> None:
    two.send("i-1", "i-2")
    two.round()
    assert [len(batch.runs) for batch in two.cloud.invocations.values() if batch.command.content == "echo"] == [2]
    two.cloud.ends = {"i-1": DONE}
    two.round()
    assert {each: (one.state, one.output) for each, one in two.news().items()} == {
        "i-1": (State.FINISHED, b"done\n"),
        "i-2": (State.RUNNING, b""),
    }
    two.cloud.ends["i-2"] = Result("", "Failed", 3, "ExitCodeNonzero", "", b"", 0)
    two.round()
    assert (two.news()["i-2"].exit_code, two.is_free()) == (3, True)


def test_an_answer_that_is_lost_does_not_run_a_command_twice(two: Scene) -> None:
    """It is sent again under the same token, by whichever process is there."""
    two.cloud.lose_answers = 3
    two.send("i-1")
    for _ in range(4):
        two.round()
    two.cloud.ends = {"i-1": DONE}
    two.round()
    assert two.news()["i-1"].state is State.FINISHED
    assert two.cloud.runs_of("i-1") == 1


def test_a_command_that_the_cloud_never_took_is_in_doubt_in_the_end(two: Scene) -> None:
    """Tokens are not kept for ever: after ten minutes nothing is sent again."""
    two.cloud.lose_answers = 1000
    two.send("i-1")
    for _ in range(70):
        two.round()
    before = len(two.cloud.sent)
    two.round(after=60)
    assert two.news()["i-1"].state is State.LOST
    two.round(after=60)
    assert len(two.cloud.sent) - before <= 1
    assert two.cloud.runs_of("i-1") == 1


def test_one_unfit_instance_does_not_spoil_it_for_the_others(two: Scene) -> None:
    """The cloud refuses the whole call: each half is sent on its own."""
    for number in range(3, 9):
        two.cloud.boot(f"i-{number}")
    two.import_all()
    del two.cloud.instances_there["i-5"]
    everybody = [f"i-{number}" for number in range(1, 9)]
    two.cloud.ends = dict.fromkeys(everybody, DONE)
    two.send(*everybody)
    for _ in range(6):
        two.round(after=2)
    news = two.news()
    assert {each for each, one in news.items() if one.state is State.FINISHED} == set(everybody) - {"i-5"}
    assert (news["i-5"].state, news["i-5"].error_code) == (State.FAILED, "EcsInstanceNotFound")
    assert all(two.cloud.runs_of(each) == 1 for each in everybody if each != "i-5")


def test_a_refusal_of_everything_ends_what_waits_with_the_reason(two: Scene) -> None:
    two.cloud.fail["run"] = [REFUSED]
    two.send("i-1", "i-2")
    assert two.round() > 0
    for one in two.news().values():
        assert (one.state, one.error_code) == (State.FAILED, "EcsPermissionMissing")
        assert "ecs:RunCommand" in one.error_text
    assert two.account_problem() == "EcsPermissionMissing"
    two.round()
    assert two.account_problem() == "EcsPermissionMissing"
    two.round(after=60)
    assert two.account_problem() == ""


def test_a_key_that_is_refused_after_a_lost_answer_leaves_the_command_in_doubt(two: Scene) -> None:
    """It may run: nobody may say that it was refused."""
    two.cloud.lose_answers = 1
    two.send("i-1")
    two.round()
    two.cloud.fail["run"] = [REFUSED]
    two.round()
    assert two.news()["i-1"].state is State.LOST


def test_a_cloud_out_of_reach_is_asked_more_and_more_slowly(two: Scene) -> None:
    pauses = [0.0]
    for _ in range(8):
        two.cloud.fail["open"] = [OUT_OF_REACH] * 5
        two.send("i-1")
        pauses.append(two.round(after=100, pause=pauses[-1]))
    assert pauses[1:5] == [1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == 30.0  # a third of the lease: what runs shall not count as lost
    two.cloud.fail.clear()
    assert two.round(pause=pauses[-1]) == 0.0


def test_a_command_is_stopped_in_the_cloud(two: Scene) -> None:
    two.send("i-1", "i-2")
    two.round()
    two.stop("i-1")
    two.round()
    assert two.cloud.stopped == ["i-1"]
    two.cloud.ends = {"i-1": Result("", "Terminated", None, "", "", b"", 0)}
    two.round()
    assert two.news()["i-1"].state is State.STOPPED
    two.round()
    assert two.cloud.stopped.count("i-1") <= 2


def test_one_that_was_not_sent_is_stopped_without_the_cloud(two: Scene) -> None:
    two.cloud.fail["open"] = [OUT_OF_REACH] * 2
    two.send("i-1")
    two.round()
    two.stop("i-1")
    two.cloud.fail.clear()
    two.round()
    two.cloud.ends = {"i-1": Result("", "Cancelled", None, "", "", b"", 0)}
    two.round()
    assert two.news()["i-1"].state is State.STOPPED


def test_one_that_is_to_be_stopped_before_its_turn_in_a_round_is_not_sent(
    two: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No order leaves after a halt was written, also while the order before it is being sent."""
    two.send("i-1")
    two.send("i-2", content="other")
    send = two.cloud.run

    def run(batch: Batch) -> str:
        assert batch.runs[0].remote_id == "i-1"
        two.stop("i-2")
        return send(batch)

    monkeypatch.setattr(two.cloud, "run", run)
    two.round()
    assert (two.cloud.runs_of("i-1"), two.cloud.runs_of("i-2")) == (1, 0)
    assert two.news()["i-2"].state is State.STOPPED
    assert two.is_free()


def test_one_whose_lease_ran_out_before_it_was_sent_counts_as_lost_and_not_as_stopped(two: Scene) -> None:
    """A server that was killed, or was slow, between storing a batch and sending it: its order is sent again."""
    two.send("i-1")
    take(Round(two.means(), two.account))
    two.now += LEASE + timedelta(seconds=1)
    with two.database.transaction() as tx:
        commands.sweep(tx, now=two.now, limit=100)
    two.round(after=1)
    assert (two.news()["i-1"].state, two.cloud.runs_of("i-1")) == (State.LOST, 0)
    two.round()
    assert two.cloud.runs_of("i-1") == 0


def test_a_region_that_is_refused_keeps_no_other_from_being_asked_about(
    two: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    with two.database.transaction() as tx:
        _store.add_host(tx, EcsHost("i-0", two.account.account_id, "cloud", "cn-a", "i-0"))
    ask = two.cloud.page

    def page(selection: Selection, token: str = "") -> Page:
        if selection.region == "cn-a":
            raise REFUSED
        return ask(selection, token)

    monkeypatch.setattr(two.cloud, "page", page)
    two.cloud.instances_there["i-1"] = replace(two.cloud.instances_there["i-1"], status="Stopped")
    two.round(after=61)
    assert two.reachability("i-1") == "InstanceNotRunning"
    assert two.account_problem() == "EcsPermissionMissing"


def test_what_the_cloud_says_of_others_is_left_out(two: Scene) -> None:
    """An instance that it does not mention is in doubt, once its time is over."""
    two.send("i-1")
    two.round()
    batch = two.cloud.invocations[two.cloud.sent[-1]]
    two.cloud.invocations[batch.token] = type(batch)(
        batch.token, batch.account_id, batch.ecs_account, batch.region, batch.command, batch.created_at,
        tuple(type(run)(run.task_id, "i-9", "i-9") for run in batch.runs),
    )  # fmt: skip
    two.cloud.ends = {"i-9": DONE, "i-2": DONE}
    two.round()
    assert two.news()["i-1"].state is State.RUNNING
    two.round(after=400)
    assert two.news()["i-1"].state is State.LOST


def test_an_invocation_that_the_cloud_has_lost_is_in_doubt(two: Scene) -> None:
    two.send("i-1")
    two.round()
    two.cloud.fail["results"] = [EcsProblem("EcsBadAnswer", "gone", Trouble.DOUBT, "InvalidInvokeId.NotFound")]
    two.round()
    assert two.news()["i-1"].state is State.LOST


def test_instances_keep_their_ids_and_say_what_they_are(two: Scene) -> None:
    """Which processor one has, the cloud does not say: it is asked itself."""
    with two.database.reading() as tx:
        found = fleet.instance(tx, two.account.account_id, "i-1")
    assert found is not None
    assert (found.name, found.platform, found.os_version) == ("name of i-1", "linux-arm64", "Debian GNU/Linux 13")


def test_the_three_validity_codes_are_the_clouds_own_word(two: Scene) -> None:
    two.cloud.boot("i-3", agent=False)
    two.import_all()
    assert (two.reachability("i-1"), two.reachability("i-3")) == ("", "CloudAssistNotRunningOnInstance")
    two.cloud.boot("i-1", status="Stopped")
    two.round(after=70)
    assert two.reachability("i-1") == "InstanceNotRunning"
    two.cloud.boot("i-1")
    del two.cloud.instances_there["i-2"]
    for _ in range(2):
        two.round(after=70)
        missing = two.host("i-2")
        assert missing is not None
        assert missing.problem_code == "EcsInstanceNotFound"
    two.round(after=70)
    assert (two.reachability("i-1"), two.reachability("i-2"), two.host("i-2")) == ("", "InstanceNotExists", None)


def test_new_instances_come_with_the_next_refresh(two: Scene) -> None:
    two.cloud.boot("i-7")
    two.round(after=70)
    assert two.host("i-7") is not None
    assert two.reachability("i-7") == ""


def test_an_account_is_one_processs_at_a_time(two: Scene) -> None:
    """A process that was killed in the middle of a round keeps it for half a minute, no longer."""
    two.send("i-1")
    with two.database.transaction() as tx:
        (taken,) = _store.take_accounts(tx, two.now, two.now + timedelta(seconds=30), 10)
        assert taken.name == "cloud"
        assert _store.take_accounts(tx, two.now, two.now, 10) == []
        assert len(_store.take_accounts(tx, two.now + timedelta(seconds=31), two.now, 10)) == 1
