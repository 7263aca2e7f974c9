"""What docs/api.md says of a call, asked of the server: every row of its table is a scenario here."""

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backfleet.ids import Draw
from backfleet.operations.catalogue import BACKFLEET, HBR
from backfleet.storage import Database
from documents import PROJECT
from operations.environment import Environment, make_environment

PAGE = (PROJECT / "docs" / "api.md").read_text()
Scenario = Callable[[Environment], set[str]]
"""Asks the server, and returns the words that the row's answer must have."""


def rows() -> dict[str, str]:
    """Return the answer of each question in the table of "The call"."""
    section = PAGE.split("\n### The call\n", 1)[1].split("\n### ", 1)[0]
    found = re.findall(r"^\| (.+?) \| (.+?) \|(?: .*\|)?$", section, re.MULTILINE)
    return {question: answer for question, answer in found if question not in ("question", "---")}


ELSEWHERE = {
    "The same bytes twice": ("tests/endpoints/openapi/test_repeated_bytes.py", "SignatureNonceUsed"),
}
"""Rows that are asked by another test, and a word of theirs that it has."""


def upgrade(env: Environment, **fields: Any) -> tuple[int, dict[str, Any]]:
    return env.ask(HBR.version, "UpgradeBackupClients", **fields)


def items(env: Environment, task_id: str) -> list[dict[str, Any]]:
    status, task = env.ask(HBR.version, "DescribeTask", TaskId=task_id)
    assert status == 200
    found: list[dict[str, Any]] = json.loads(task["Result"])
    return found


def codes(env: Environment, **fields: Any) -> list[str]:
    """Return the code of each item of an upgrade; "" for one that goes on."""
    status, body = upgrade(env, **fields)
    assert status == 200, body
    return [item["errorCode"] for item in items(env, body["TaskId"])]


def which_list(env: Environment) -> set[str]:
    (host, _), (_, client) = env.host_with_client(), env.host_with_client()
    assert codes(env, InstanceIds=[client], ClientIds=[host]) == ["", ""]
    status, body = upgrade(env, InstanceIds=["x-1"])
    return {body["Code"]} if status == 400 else set()


def how_written(env: Environment) -> set[str]:
    hosts = [env.host_with_client()[0] for _ in range(3)]
    assert codes(env, InstanceIds=[hosts[0]]) == [""]
    assert codes(env, InstanceIds={"a": hosts[1]}) == [""]
    assert codes(env, **{"InstanceIds.1": hosts[2]}) == [""]
    return {upgrade(env, InstanceIds=wrong)[1]["Code"] for wrong in ("null", '"x"', "7", '[["i-1"]]')}


def how_many(env: Environment) -> set[str]:
    host, client = env.host_with_client()
    assert codes(env, InstanceIds=[host, host], ClientIds=[client]) == [""]
    ids = [f"i-{number}" for number in range(101)]
    assert upgrade(env, InstanceIds=ids)[1]["Code"] == "InvalidParameter"
    assert upgrade(env, InstanceIds=ids[:100])[1]["Code"] == "NoValidInstance"
    return {"100 entries", upgrade(env)[1]["Code"]}


def when_given_work(env: Environment) -> set[str]:
    soon, never = env.deaf_host(dials_in=60), env.deaf_host(dials_in=None)
    for host in (soon, never):
        env.client(host)
    status, body = upgrade(env, InstanceIds=[soon, never])
    assert (status, [line["ValidInstance"] for line in body["InstanceStatuses"]]) == (200, [True, False])
    assert body["InstanceStatuses"][0]["ConnectsTime"] > 0
    return {"ConnectsTime", body["InstanceStatuses"][1]["ErrorCode"], f"{env.services.settings.fit_seconds} s"}


def one_unreachable(env: Environment) -> set[str]:
    refused = [upgrade(env, InstanceIds=[each]) for each in ("i-1", env.host(stopped=True), env.host(silent=True))]
    assert {status for status, _ in refused} == {400}
    return {body["Code"] for _, body in refused}


def some_unreachable(env: Environment) -> set[str]:
    host, _ = env.host_with_client()
    status, body = upgrade(env, InstanceIds=[host, "i-1"])
    assert (status, body["Success"]) == (200, True)
    assert [item["errorCode"] for item in items(env, body["TaskId"])] == ["", "InstanceNotExists"]
    for line in body["InstanceStatuses"]:
        assert line["ValidInstance"] is (line["ErrorCode"] == "")
    env.ask(BACKFLEET.version, "CancelTask", TaskId=body["TaskId"])
    progress = env.ask(HBR.version, "DescribeTask", TaskId=body["TaskId"])[1]["Progress"]
    return {"InstanceStatuses", "ValidInstance", f"Progress ends at {progress}"}


def none_reachable(env: Environment) -> set[str]:
    found = set()
    for asked in ({"InstanceIds": ["i-1", "i-2"], "ClientIds": ["c-1"]}, {"ClientIds": ["c-1", "c-2"]}):
        status, body = upgrade(env, **asked)
        assert (status, body["Success"], "TaskId" in body) == (200, False, False)
        found.add(body["Code"])
    return found


def unknown_client(env: Environment) -> set[str]:
    host, _ = env.host_with_client()
    status, body = upgrade(env, ClientIds=["c-1"])
    assert status == 404
    together = codes(env, InstanceIds=[host], ClientIds=["c-1"])
    return {body["Code"], *filter(None, together)}


def at_its_target(env: Environment) -> set[str]:
    host, _ = env.host_with_client("2.0")
    assert codes(env, InstanceIds=[host]) == [""], "it is sent all the same"
    return {"AlreadyCurrent"}


def no_client(env: Environment) -> set[str]:
    (host, _), bare = env.host_with_client(), env.host()
    return set(filter(None, codes(env, InstanceIds=[host, bare])))


def being_upgraded(env: Environment) -> set[str]:
    host, _ = env.host_with_client()
    first = upgrade(env, InstanceIds=[host])[1]["TaskId"]
    (second,) = items(env, upgrade(env, InstanceIds=[host])[1]["TaskId"])
    assert first in second["message"]
    return {second["errorCode"]}


def same_request(env: Environment) -> set[str]:
    host, _ = env.host_with_client()
    asked = {"InstanceIds": [host], "ClientToken": "once"}
    assert upgrade(env, **asked)[1]["TaskId"] == upgrade(env, **asked)[1]["TaskId"]
    other = upgrade(env, InstanceIds=[host, env.host_with_client()[0]], ClientToken="once")[1]
    return {"ClientToken", other["Code"]}


def same_install(env: Environment) -> set[str]:
    hosts = [env.host(), env.host()]

    def install(order: int) -> str:
        asked = {"InstanceIds": hosts[::order], "PackageName": "courier"}
        found: str = env.ask(HBR.version, "InstallBackupClients", **asked)[1]["TaskId"]
        return found

    assert install(1) == install(-1)
    return {"The running task's id"}


def which_version(env: Environment) -> set[str]:
    (old, _), (new, _), pinned = env.host_with_client(), env.host_with_client("3.0"), env.host()
    env.client(pinned, pin="<2")
    (moved,) = items(env, upgrade(env, InstanceIds=[env.host_with_client()[0]])[1]["TaskId"])
    assert moved["toVersion"] == "2.0"
    found = codes(env, InstanceIds=[old], ReleaseVersion="9.9")
    found += codes(env, InstanceIds=[new, pinned], ReleaseVersion="2.0")
    return {"ReleaseVersion", *found}


def how_down(env: Environment) -> set[str]:
    host, _ = env.host_with_client("2.0")
    status, body = env.ask(BACKFLEET.version, "RollBackClients", InstanceIds=[host])
    assert status == 200
    (item,) = items(env, body["TaskId"])
    assert (item["errorCode"], item["toVersion"]) == ("", "")
    return {"RollBackClients"}


def previewed(env: Environment) -> set[str]:
    host, _ = env.host_with_client("3.0")
    status, body = env.ask(
        BACKFLEET.version, "PreviewClients", InstanceIds=[host], Kind="upgrade", ReleaseVersion="9.9"
    )
    (found,) = body["Clients"]
    assert (status, found["ToVersion"], found["ErrorCode"]) == (200, "", "NoRelease")
    kinds = {"upgrade", "roll-back", "uninstall"}
    assert {env.ask(BACKFLEET.version, "PreviewClients", InstanceIds=[host], Kind=kind)[0] for kind in kinds} == {200}
    assert env.ask(BACKFLEET.version, "ListTasks")[1]["TotalCount"] == 0
    return {"PreviewClients", "Kind", *kinds}


def prechecked(env: Environment) -> set[str]:
    return {"PrecheckClients", prepared(env, "PrecheckClients")}


def staged(env: Environment) -> set[str]:
    return {"StageClients", prepared(env, "StageClients")}


def prepared(env: Environment, action: str) -> str:
    status, body = env.ask(BACKFLEET.version, action, InstanceIds=[env.host_with_client()[0]])
    name = env.ask(HBR.version, "DescribeTask", TaskId=body["TaskId"])[1]["Name"]
    assert (status, name) == (200, f"{action}Task")
    return action


def awaited(env: Environment) -> set[str]:
    host = env.host(silent=True)
    env.client(host)
    asked = {"InstanceIds": [host], "ExpiresInSeconds": "86400"}
    status, body = upgrade(env, **asked)
    assert (status, body["InstanceStatuses"][0]["ValidInstance"]) == (200, True)
    (item,) = items(env, body["TaskId"])
    assert item["waitsUntil"] == int(env.now.timestamp()) + 86400
    upgrade(env, **asked)
    return {"ExpiresInSeconds", "waitsUntil", items(env, body["TaskId"])[0]["errorCode"]}


def kept(env: Environment) -> set[str]:
    host, client = env.host_with_client()
    until = (env.now + timedelta(days=1)).isoformat()
    status, _ = env.ask(BACKFLEET.version, "PutPin", ClientId=client, Reason="year's end", Until=until, Versions="<2")
    assert status == 200
    (shown,) = env.ask(HBR.version, "DescribeBackupClients", ClientType="ECS_CLIENT")[1]["Clients"]
    assert [pin["Reason"] for pin in shown["Pins"]] == ["year's end"]
    return {"PutPin", "Pins", *codes(env, InstanceIds=[host])}


def at_least(env: Environment) -> set[str]:
    env.host_with_client()
    asked = {"PackageName": "courier", "MinimumVersion": "2.0", "Due": "2031-01-01", "Reason": "a hole"}
    assert env.ask(BACKFLEET.version, "PutMinimumVersion", **asked)[0] == 200
    (listed,) = env.ask(BACKFLEET.version, "ListMinimumVersions")[1]["MinimumVersions"]
    (shown,) = env.ask(HBR.version, "DescribeBackupClients", ClientType="ECS_CLIENT")[1]["Clients"]
    assert (listed["ClientsBelow"], shown["BelowMinimumVersion"]) == (1, "2.0")
    return {"PutMinimumVersion", "ListMinimumVersions", "BelowMinimumVersion", *asked}


def channel_and_scheme(env: Environment) -> set[str]:
    env.host_with_client()
    (listed,) = env.ask(HBR.version, "DescribeBackupClients", ClientType="ECS_CLIENT")[1]["Clients"]
    assert (listed["Channel"], listed["VersionScheme"]) == ("stable", "pep440")
    return {"Channel", "VersionScheme"}


def cancelling_again(env: Environment) -> set[str]:
    host, _ = env.host_with_client()
    task = upgrade(env, InstanceIds=[host])[1]["TaskId"]
    answers = [env.ask(BACKFLEET.version, "CancelTask", TaskId=task)[1] for _ in range(2)]
    assert [answer["Cancelled"] for answer in answers] == [True, False]
    assert [(answer["Description"], answer["Progress"]) for answer in answers] == [("cancelled", -1)] * 2
    return {"CancelTask", "Cancelled", "Description", "Progress"}


def on_withdrawn(env: Environment) -> set[str]:
    env.release("1.5", withdrawn=True)
    for version in ("1.0", "1.5", "2.0"):
        env.host_with_client(version)
    listed = env.ask(HBR.version, "DescribeBackupClients", ClientType="ECS_CLIENT")[1]["Clients"]
    states = {client["ClientVersion"]: client["OfferState"] for client in listed}
    assert states == {"1.0": "Behind", "1.5": "Withdrawn", "2.0": "Current"}
    return {"OfferState", *states.values()}


SCENARIOS: dict[str, Scenario] = {
    "Which ids may be in which list?": which_list,
    "How may a list be written?": how_written,
    "How many?": how_many,
    "When can an instance be given work?": when_given_work,
    "One unreachable instance and nothing else": one_unreachable,
    "Several, some unreachable": some_unreachable,
    "Several, no instance reachable and no client known": none_reachable,
    "Unknown client id": unknown_client,
    "Already at its target": at_its_target,
    "No client known, or none installed as far as we know": no_client,
    "Already being upgraded": being_upgraded,
    "The same request twice": same_request,
    "The same install or uninstall asked again while it runs, without a `ClientToken` or with a new one": same_install,
    "Which version?": which_version,
    "How to go down?": how_down,
    "What would the server refuse?": previewed,
    "What would an upgrade be refused for?": prechecked,
    "How to download before the window opens?": staged,
    "How to wait for hosts that are away or busy?": awaited,
    "How to keep a client where it is?": kept,
    "How to get every client above a version?": at_least,
    "Which channel does a client follow, and how do its versions compare?": channel_and_scheme,
    "What does cancelling a finished task do?": cancelling_again,
    "Which clients are on a withdrawn version?": on_withdrawn,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder: the keys in it cost time to make."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def env(sqlite_database: Database, data: Path, now: datetime, draw: Draw) -> Environment:
    """Hosts, and releases 1.0 and 2.0 of their client."""
    made = make_environment(sqlite_database, data, now, draw)
    made.release("1.0")
    made.release("2.0")
    return made


def test_every_row_of_the_page_is_asked() -> None:
    """A new row needs a scenario, here or elsewhere."""
    assert rows().keys() == SCENARIOS.keys() | ELSEWHERE.keys()


@pytest.mark.parametrize("question", SCENARIOS)
def test_the_server_answers_as_the_page_says(env: Environment, question: str) -> None:
    """The row has every code and name that the server answers with."""
    seen, answer = SCENARIOS[question](env), rows()[question]
    assert seen
    assert [word for word in sorted(seen) if word not in answer] == []


@pytest.mark.parametrize("question", ELSEWHERE)
def test_a_row_that_is_asked_elsewhere_is_asked_there(question: str) -> None:
    """By a test that knows its answer."""
    file, word = ELSEWHERE[question]
    assert word in (PROJECT / file).read_text()
    assert word in rows()[question]


def test_every_code_of_an_item_has_a_row() -> None:
    """The host's and the server's own."""
    from backfleet_host.contract import CODES

    section = PAGE.split("\n### An item's `errorCode`", 1)[1].split("\n### ", 1)[0]
    listed = set(re.findall(r"\w+", " ".join(re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE))))
    assert {code for code in CODES if code} - listed == set()
