"""Rounds with an account of AWS, on each engine: its codes, its carrier, and what is sent once."""

from dataclasses import replace

import pytest

from backfleet import fleet
from backfleet.carriers import ecs
from backfleet.carriers.ecs.model import Batch, EcsAccount, EcsProblem, Result, Selection, Source, Trouble
from backfleet.carriers.ssm.problems import NOT_RUN
from backfleet.commands import State
from backfleet.fleet import CarrierKind
from backfleet.operations.catalogue import BACKFLEET
from carriers.ecs.conftest import Scene, ScriptedCloud
from operations.environment import Environment

FACTS = b"Linux\naarch64\nweb\nDebian GNU/Linux 13\nmachine\n0\n1767323045\n"
THROTTLED = EcsProblem("SsmThrottled", "later", Trouble.PASSES, "ThrottlingException", not_taken=True)
LOST = EcsProblem("SsmUnreachable", "nobody answers", Trouble.PASSES)


@pytest.fixture
def aws(env: Environment) -> Scene:
    """An account of AWS with two instances that are imported, and have said what they are."""
    account = EcsAccount(env.root.account_id, "cloud", Source.KEY, env.now, cloud=CarrierKind.SSM)
    made = Scene(env, ScriptedCloud(), env.now, account)
    with env.services.database.transaction() as tx:
        ecs.add_account(tx, account)
        everything = Selection("eu-central-1")
        ecs.add_import(tx, account.account_id, "cloud", everything, CarrierKind.SSM, now=env.now,
                       draw=env.services.draw)  # fmt: skip
    for each in ("i-1", "mi-2"):
        made.cloud.boot(each)
        made.cloud.ends[each] = Result("", "Success", 0, "", "", FACTS, 0)
    for _ in range(3):
        made.round()
    made.cloud.ends.clear()
    made.cloud.sent.clear()
    return made


def test_instances_have_the_carrier_of_their_cloud_and_its_codes(aws: Scene) -> None:
    with aws.database.reading() as tx:
        found = [fleet.instance(tx, aws.account.account_id, each) for each in ("i-1", "mi-2")]
        assert [each.name for each in ecs.accounts_of(tx, aws.account.account_id, CarrierKind.SSM)] == ["cloud"]
        assert ecs.accounts_of(tx, aws.account.account_id, CarrierKind.ECS) == []
        assert ecs.imports_of(tx, aws.account.account_id, CarrierKind.ECS) == []
        with pytest.raises(ecs.AccountNotFound):
            ecs.find_account(tx, aws.account.account_id, "cloud")
    assert [(each.carrier, each.platform, each.agent_version) for each in found if each] == [
        (CarrierKind.SSM, "linux-arm64", "ssm 2.2.3")
    ] * 2
    aws.cloud.boot("i-1", status="Stopped")
    aws.cloud.boot("mi-2", agent=False)
    aws.round(after=70)
    hosts = [aws.host(each) for each in ("i-1", "mi-2")]
    assert [each.problem_code for each in hosts if each] == ["SsmInstanceNotRunning", "SsmAgentNotRunning"]
    assert aws.reachability("i-1") == "InstanceNotRunning"
    del aws.cloud.instances_there["i-1"]
    for _ in range(3):
        aws.round(after=70)
    assert (aws.host("i-1"), aws.reachability("i-1")) == (None, "InstanceNotExists")


def test_doctor_says_why_an_account_of_aws_does_not_answer(aws: Scene) -> None:
    """With the commands and the page of this cloud."""
    aws.cloud.fail["instances"] = [EcsProblem("SsmKeyRefused", "no such key", Trouble.ACCOUNT)] * 9
    for after in (70, 1, 70, 1):
        aws.round(after=after)
    _, health = aws.env.ask(BACKFLEET.version, "GetServerHealth")
    (found,) = [each for each in health["Findings"] if each["Code"] == "CloudAccounts"]
    assert (found["Severity"], found["Subjects"]) == ("Error", ["cloud"])
    assert "SsmKeyRefused: no such key" in found["Found"]
    assert "`backfleet ssm-account list`, and docs/ssm.md" in found["Advice"]


def test_what_was_throttled_counts_as_not_sent_and_what_was_lost_does_not(aws: Scene) -> None:
    """Only what may have been taken is looked for before it is sent again."""
    tries: list[int] = []
    run = aws.cloud.run

    def counted(batch: Batch) -> str:
        tries.append(batch.tries)
        return run(batch)

    aws.cloud.run = counted  # type: ignore[method-assign]
    aws.cloud.fail["run"] = [THROTTLED, LOST, LOST]
    aws.send("i-1")
    for _ in range(4):
        aws.round()
    assert tries == [0, 0, 1, 2]
    aws.cloud.ends = {"i-1": Result("", "Success", 0, "", "", b"done\n", 0)}
    aws.round()
    assert aws.news()["i-1"].state is State.FINISHED


@pytest.mark.parametrize(
    ("result", "state", "code"),
    [
        (Result("", "Timeout", None, "", "", b"", 0), State.TIMED_OUT, ""),
        (Result("", "Cancelled", None, "", "", b"", 0), State.STOPPED, ""),
        (Result("", "Failed", 3, "", "", b"", 0), State.FINISHED, ""),
        (Result("", "Failed", None, "", "", b"", 0), State.LOST, ""),
        (Result("", "Error", None, "", "", b"", 0), State.LOST, ""),
        (Result("", "Error", None, "Undeliverable", "", b"", 0), State.FAILED, "SsmNotDelivered"),
        (Result("", "Error", None, "DeliveryTimedOut", "", b"", 0), State.FAILED, "SsmAgentNotRunning"),
    ],
)
def test_each_state_of_a_command_has_its_end(aws: Scene, result: Result, state: State, code: str) -> None:
    aws.cloud.ends = {"i-1": replace(result, meaning=NOT_RUN.get(result.error_code))}
    aws.send("i-1")
    for _ in range(2):
        aws.round()
    news = aws.news()["i-1"]
    assert news.state is state
    assert code in ("", news.error_code)
