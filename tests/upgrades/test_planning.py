"""Planning, without a database: which version a client moves to, and what is refused. Each row is a sentence."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backfleet.fleet import AgentKind, Client, ClientStatus, Hold, Instance, Pin, PinKind, Reachability
from backfleet.releases import Manifest, Release
from backfleet.upgrades import (
    Planner,
    RollBackPlanner,
    TaskTarget,
    UninstallPlanner,
    UpgradePlanner,
    plan_for_client,
    plan_for_instance,
    unknown_client,
)

THEN = datetime(2026, 1, 2, tzinfo=UTC)
PACKAGE, PLATFORM = "courier", "linux-amd64"
INSTANCE = Instance(
    id="mi-1", account_id="1", region="r", activation_id="a-1", name="web-1", hostname="web-1", machine_id="m",
    os_type="linux", os_version="Linux", platform=PLATFORM, agent_version="backfleet-0.1.0",
    agent_kind=AgentKind.BACKFLEET, agent_mode="restricted", intranet_ip="", internet_ip="", registered_at=THEN,
    last_heard_at=THEN, clock_skew_ms=None, stopped_at=None, deregistered_at=None, public_key="",
)  # fmt: skip
CLIENT = Client("c-1", "1", "r", "mi-1", PACKAGE, "1.0", "stable", ClientStatus.ACTIVATED, THEN, THEN, checked_at=THEN)


def release(version: str, upgrades_from: str = "", *, withdrawn: bool = False) -> Release:
    manifest = Manifest(PACKAGE, version, PLATFORM, "tar", upgrades_from=upgrades_from)
    gone = THEN if withdrawn else None
    return Release(PACKAGE, version, PLATFORM, "0" * 64, 1, "courier.tar", manifest, THEN, gone, ("stable",))


OFFER = (PACKAGE, PLATFORM, "stable")


def upgrades_to(*offered: Release) -> UpgradePlanner:
    return UpgradePlanner({OFFER: list(offered)})


def pin(versions: str = "", days: int = 1) -> Pin:
    until = THEN + timedelta(days=days)
    return Pin("1", "r", PinKind.INSTANCE, "mi-1", "", PACKAGE, versions, "year's end", "the owner", THEN, until)


def held(*pins: Pin) -> dict[tuple[str, str], Hold]:
    return {("mi-1", PACKAGE): Hold(pins)}


def pinned_to(versions: str, *offered: Release, named: str = "") -> UpgradePlanner:
    return UpgradePlanner({OFFER: list(offered)}, named, held(pin(versions)))


def taken_back(versions: str, named: str = "") -> RollBackPlanner:
    return RollBackPlanner(named, {(PACKAGE, PLATFORM): release(named) if named else None}, held(pin(versions)))


def outcome_of(target: TaskTarget) -> str:
    """The version that its order names, or the code that it is refused with."""
    return target.resolved[0] if target.resolved is not None else target.to_version or "removed"


@pytest.mark.parametrize(
    ("planner", "client", "instance", "expected"),
    [
        pytest.param(
            upgrades_to(release("1.5"), release("2.0")), {}, {}, "2.0", id="a client moves to the newest release"
        ),
        pytest.param(
            upgrades_to(release("1.10"), release("1.9")), {}, {}, "1.10", id="versions are compared as numbers"
        ),
        pytest.param(
            upgrades_to(release("2.0"), release("3.0", withdrawn=True)), {}, {}, "2.0",
            id="a withdrawn release is passed over",
        ),
        pytest.param(
            pinned_to("<2", release("1.9"), release("2.0")), {}, {}, "1.9", id="a pinned client moves within its pin"
        ),
        pytest.param(pinned_to("<2", release("2.0")), {}, {}, "Pinned", id="a pin that nothing fits is a refusal"),
        pytest.param(
            pinned_to("<2", release("1.0"), release("2.0")), {}, {}, "Pinned",
            id="a pin that keeps a client from a newer release says so",
        ),
        pytest.param(pinned_to("<2", release("1.0")), {}, {}, "1.0", id="a pin that keeps it from nothing does not"),
        pytest.param(pinned_to("<2"), {}, {}, "NoRelease", id="a pin does not hide that nothing is offered"),
        pytest.param(pinned_to("", release("2.0")), {}, {}, "Pinned", id="a pin without versions lets it move nowhere"),
        pytest.param(
            pinned_to("", release("2.0"), named="2.0"), {}, {}, "Pinned", id="nor to a version that was named"
        ),
        pytest.param(
            pinned_to("", release("1.0"), release("2.0"), named="1.0"), {}, {}, "1.0",
            id="a pinned client can be repaired: the version that it has was named",
        ),
        pytest.param(
            pinned_to("==1.5", release("1.0"), release("1.5"), named="1.0"), {}, {}, "1.0",
            id="also where the pin names another version",
        ),
        pytest.param(
            UpgradePlanner({OFFER: [release("1.5"), release("1.9")]}, "", held(pin("<1.8"), pin("!=1.5"))), {}, {},
            "Pinned", id="each of several pins must allow the version",
        ),
        pytest.param(taken_back(""), {}, {}, "Pinned", id="a pinned client is not rolled back"),
        pytest.param(taken_back("<2"), {}, {}, "Pinned", id="nor to what its host had, which nobody here knows"),
        pytest.param(taken_back("<2", "0.9"), {}, {}, "0.9", id="but to a version within its pin"),
        pytest.param(taken_back(">=1", "0.9"), {}, {}, "Pinned", id="and to none outside it"),
        pytest.param(UninstallPlanner(held(pin())), {}, {}, "Pinned", id="a pinned client is not removed"),
        pytest.param(upgrades_to(), {}, {}, "NoRelease", id="a channel that offers nothing is a refusal"),
        pytest.param(
            upgrades_to(release("2.0")), {"channel": "beta"}, {}, "NoRelease",
            id="a release of another channel does not count"
        ),
        pytest.param(
            upgrades_to(release("2.0")), {}, {"platform": "linux-arm64"}, "NoRelease",
            id="a release of another platform does not count",
        ),
        pytest.param(upgrades_to(release("0.9")), {}, {}, "1.0", id="a client never moves to an older one"),
        pytest.param(upgrades_to(release("1.0")), {}, {}, "1.0", id="the host of a current client is asked"),
        pytest.param(
            upgrades_to(release("1.5"), release("2.0", ">=1.5")), {}, {}, "2.0",
            id="an intermediate version opens the way",
        ),
        pytest.param(
            upgrades_to(release("2.0", ">=1.5")), {}, {}, "NotAllowedFrom",
            id="a missing intermediate version is a refusal"
        ),
        pytest.param(
            upgrades_to(release("1.5"), release("2.0", ">=1.8")), {}, {}, "1.5",
            id="a client moves as far as the way leads",
        ),
        pytest.param(
            upgrades_to(release("2.0")), {"version": "custom"}, {}, "2.0",
            id="a version that cannot be compared is replaced",
        ),
        pytest.param(
            upgrades_to(release("1.0")), {"drift": "a file was changed"}, {}, "1.0",
            id="a client with drift gets its version again",
        ),
        pytest.param(
            upgrades_to(release("2.0")), {"drift": "a file was changed"}, {}, "2.0",
            id="a client with drift moves on if there is a newer version",
        ),
        pytest.param(
            upgrades_to(release("0.9"), release("1.0", withdrawn=True)), {"drift": "a file was changed"}, {},
            "0.9", id="a client whose version was withdrawn goes to the newest one that is offered",
        ),
        pytest.param(
            upgrades_to(release("2.0")), {"version": ""}, {}, "2.0",
            id="whether a client is installed its host says"
        ),
        pytest.param(
            upgrades_to(release("2.0")), {}, {"agent_kind": AgentKind.OFFICIAL}, "2.0",
            id="another agent on Linux takes orders",
        ),
        pytest.param(
            upgrades_to(release("2.0")), {}, {"agent_kind": AgentKind.OFFICIAL, "platform": "windows-amd64"},
            "UnsupportedPlatform", id="another agent elsewhere takes none",
        ),
        pytest.param(UninstallPlanner(), {}, {}, "removed", id="an installed client is removed"),
        pytest.param(
            UninstallPlanner(), {"version": "", "status": ClientStatus.NOT_INSTALLED}, {}, "removed",
            id="the host of a client that was removed before is asked",
        ),
        pytest.param(
            UninstallPlanner(), {"version": "", "status": ClientStatus.INSTALL_FAILED}, {}, "removed",
            id="the remains of a failed install are removed",
        ),
        pytest.param(
            UninstallPlanner(), {}, {"agent_kind": AgentKind.OFFICIAL, "platform": ""}, "UnsupportedPlatform",
            id="nothing is removed where no order can be sent",
        ),
    ],
)  # fmt: skip
def test_what_becomes_of_a_client(
    planner: Planner, client: dict[str, Any], instance: dict[str, Any], expected: str
) -> None:
    """The target names the client, its package and the version that it has, whatever becomes of it."""
    of, on = replace(CLIENT, **client), replace(INSTANCE, **instance)
    target = plan_for_client(on, of, Reachability.REACHABLE, planner)
    assert outcome_of(target) == expected
    known = (target.instance_id, target.client_id, target.package, target.platform, target.from_version)
    assert known == ("mi-1", "c-1", PACKAGE, on.platform, of.version)


@pytest.mark.parametrize(
    ("planner", "client", "text"),
    [
        pytest.param(
            upgrades_to(), {}, f"no release of {PACKAGE} is offered for {PLATFORM} on channel stable; add one"
        ),
        pytest.param(
            UpgradePlanner({OFFER: [release("2.0")]}, "", held(pin("<2", 1), pin("<2", 9))), {},
            "pinned to <2 until 2026-01-03T00:00:00Z by the owner: year's end. Wait, or delete the pin",
        ),
        pytest.param(
            upgrades_to(release("2.0", ">=1.5")),
            {},
            "can be reached from 1.0; add the intermediate version it requires",
        ),
    ],
    ids=["no release", "none in the pin", "no way"],
)  # fmt: skip
def test_a_refusal_says_what_to_do(planner: Planner, client: dict[str, Any], text: str) -> None:
    """With the names that it is about."""
    target = plan_for_client(INSTANCE, replace(CLIENT, **client), Reachability.REACHABLE, planner)
    assert target.resolved is not None
    assert text in target.resolved[1]


@pytest.mark.parametrize("reachability", [each for each in Reachability if each is not Reachability.REACHABLE])
def test_a_client_on_an_unreachable_instance_is_refused(reachability: Reachability) -> None:
    """The message has the API's code for why."""
    target = plan_for_client(INSTANCE, CLIENT, reachability, upgrades_to(release("2.0")))
    assert target.resolved is not None
    assert target.resolved[0] == "HostUnreachable"
    assert reachability.value in target.resolved[1]


def test_an_instance_means_its_clients() -> None:
    """Each is planned by itself; one that was removed is not meant by an upgrade, one that is being installed is."""
    gone = replace(CLIENT, id="c-2", package="gone", version="", status=ClientStatus.NOT_INSTALLED)
    coming = replace(CLIENT, id="c-3", package="coming", version="", status=ClientStatus.INSTALLING)
    planned = plan_for_instance(INSTANCE, [CLIENT, gone, coming], upgrades_to(release("2.0")))
    assert [(target.client_id, outcome_of(target)) for target in planned] == [
        ("c-1", "2.0"),
        ("c-3", "NoRelease"),
    ]
    removed = plan_for_instance(INSTANCE, [CLIENT, gone], UninstallPlanner())
    assert [(target.client_id, outcome_of(target)) for target in removed] == [
        ("c-1", "removed"),
        ("c-2", "removed"),
    ]


def test_where_no_client_is_known_to_be_installed_each_host_is_asked() -> None:
    """Our table may be wrong: the machine was reverted, or a report that it could not look was taken for a removal."""
    gone = replace(CLIENT, version="", status=ClientStatus.NOT_INSTALLED)
    (asked,) = plan_for_instance(INSTANCE, [gone], upgrades_to(release("2.0")))
    assert (asked.client_id, outcome_of(asked)) == ("c-1", "2.0")
    doubtful = replace(gone, in_doubt=True)
    other = replace(CLIENT, id="c-2", package="other")
    both = plan_for_instance(INSTANCE, [doubtful, other], upgrades_to(release("2.0")))
    assert [target.client_id for target in both] == ["c-1", "c-2"]


def test_an_instance_without_clients_is_one_refusal() -> None:
    """It has no client id to name; an unknown client has no instance."""
    (target,) = plan_for_instance(INSTANCE, [], UninstallPlanner())
    assert (target.instance_id, target.client_id, outcome_of(target)) == ("mi-1", "", "ClientNotInstalled")
    unknown = unknown_client("c-9")
    assert (unknown.instance_id, unknown.client_id, outcome_of(unknown)) == ("", "c-9", "ClientNotExists")
