"""Go and Java clients with their own retries switched on: what is asked again is done once."""

from typing import Any

import pytest

from backfleet.operations.catalogue import BACKFLEET as OURS
from backfleet.operations.catalogue import ECS, HBR, find
from endpoints.openapi.client_programs import GO, JAVA, ClientProgram, needs_go, needs_java, running
from endpoints.openapi.scenario import REGION, Refused, prepare
from endpoints.openapi.server import Server
from endpoints.openapi.troubled_way import Trouble, Way, way_to

ATTEMPTS = 3
REFUSED = {Trouble.THROTTLED, Trouble.UNAVAILABLE}  # before anything was done
RETRIES = pytest.mark.parametrize(
    ("command", "name", "retried"),
    [
        pytest.param(GO, "generic v3", REFUSED, id="Go generic client", marks=needs_go),
        pytest.param(GO, "legacy", {*Trouble} - {Trouble.THROTTLED, Trouble.ANSWER_CUT}, id="Go legacy client",
                     marks=needs_go),
        pytest.param(JAVA, "generic v3", {Trouble.ANSWER_LOST}, id="Java generic client", marks=needs_java),
        pytest.param(JAVA, "legacy v1", {*Trouble}, id="Java core, V1", marks=needs_java),
        pytest.param(JAVA, "legacy v3", {*Trouble}, id="Java core, V3", marks=needs_java),
    ],
)  # fmt: skip
"""What each client asks again by itself. The other troubles it reports."""


def through(way: Way, program: ClientProgram, trouble: Trouble, order: tuple[str, str], **parameters: Any) -> Any:
    """Give an order of which the first request gets into trouble; return the answer, and if the client asked again."""
    before, found = len(way.asked), find(*order)
    way.troubles.append(trouble)
    try:
        answer, own = program.call(found, parameters), True
    except Refused:
        answer, own = program.call(found, parameters), False  # a caller asks again by hand
    assert len(way.asked) == before + 2
    assert way.asked[before] != way.asked[-1], "a retry is signed anew: the same bytes are used up"
    return answer, own


@RETRIES
def test_an_order_that_is_asked_again_is_done_once(
    server: Server, command: list[str], name: str, retried: set[Trouble]
) -> None:
    """Whatever happened to the first request: with a ClientToken, and an install without one too."""
    installation, upgrades, runs, installs = prepare(server), {}, {}, {}
    known = installation.known
    with (
        way_to(server) as way,
        running(command, name, server, installation.somebody, endpoint=way.address, attempts=ATTEMPTS) as program,
    ):
        for number, trouble in enumerate(Trouble, 1):
            target, token = {"ClientIds": [known[f"client{number}"]]}, {"ClientToken": f"token-{number}"}
            upgrades[trouble], own = through(
                way, program, trouble, (HBR.version, "UpgradeBackupClients"), **target, **token
            )
            assert own is (trouble in retried), trouble
            if trouble in REFUSED:
                continue  # nothing was done that could be done twice
            run = {"RegionId": REGION, "Type": "RunShellScript", "CommandContent": "echo", **token}
            runs[trouble], _ = through(
                way, program, trouble, (ECS.version, "RunCommand"), InstanceId=[known[f"host{number}"]], **run
            )
            installs[trouble], _ = through(
                way, program, trouble, (HBR.version, "InstallBackupClients"), InstanceIds=[known["bare1"]]
            )
        tasks = program.call(find(OURS.version, "ListTasks"), {})["Tasks"]
        found = program.call(find(ECS.version, "DescribeInvocations"), {"RegionId": REGION})["Invocations"]
    install = {answer["TaskId"] for answer in installs.values()}
    assert len(install) == 1
    assert {task["TaskId"] for task in tasks} == {answer["TaskId"] for answer in upgrades.values()} | install
    assert len(tasks) == len(Trouble) + 1
    assert {each["InvokeId"] for each in found["Invocation"]} == {answer["InvokeId"] for answer in runs.values()}
    assert len(found["Invocation"]) == len(Trouble) - len(REFUSED)
