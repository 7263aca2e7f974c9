"""Pins, put by a caller: what they refuse, whose they are, how long they hold, and who may put them."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backfleet import fleet, identity
from backfleet.ids import Draw
from backfleet.operations import Housekeeping
from backfleet.operations.catalogue import BACKFLEET, HBR
from backfleet.storage import Database
from operations.environment import REGION, Environment, make_environment


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder: the keys in it cost time to make."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def env(database: Database, data: Path, now: datetime, draw: Draw) -> Environment:
    """On each engine in turn, with a release that a client may move to."""
    return shop_of(make_environment(database, data, now, draw))


@pytest.fixture
def shop(sqlite_database: Database, data: Path, now: datetime, draw: Draw) -> Environment:
    """The same on SQLite alone: for what no database decides."""
    return shop_of(make_environment(sqlite_database, data, now, draw))


def shop_of(made: Environment) -> Environment:
    made.release("1.0")
    made.release("2.0")
    return made


def day(env: Environment, days: float) -> str:
    return (env.now + timedelta(days=days)).isoformat()


def put(env: Environment, caller: identity.Caller | None = None, **fields: Any) -> tuple[int, dict[str, Any]]:
    given = {"Reason": "year's end", "Until": day(env, 30), **fields}
    return env.ask(BACKFLEET.version, "PutPin", caller, **given)


def ours(env: Environment, action: str, **fields: Any) -> dict[str, Any]:
    status, body = env.ask(BACKFLEET.version, action, **fields)
    assert status == 200, body
    return body


def code_of(env: Environment, action: str = "UpgradeBackupClients", product: str = HBR.version, **fields: Any) -> str:
    """The code of the one item that a call makes."""
    return str(item_of(env, action, product, **fields)["errorCode"])


def item_of(env: Environment, action: str, product: str = HBR.version, **fields: Any) -> dict[str, Any]:
    status, body = env.ask(product, action, **fields)
    assert status == 200, body
    (item,) = json.loads(env.ask(HBR.version, "DescribeTask", TaskId=body["TaskId"])[1]["Result"])
    found: dict[str, Any] = item
    return found


def tag(env: Environment, kind: str, named: str, tags: dict[str, str]) -> None:
    with env.services.database.transaction() as tx:
        fleet.set_tags(tx, env.root.account_id, REGION, kind, [named], tags)


def test_a_pinned_client_stays_until_its_pin_expires(env: Environment) -> None:
    """The refusal names reason, owner and end; only the time decides whether the pin still holds."""
    _, client = env.host_with_client()
    status, pin = put(env, ClientId=client, Until=day(env, 3))
    assert (status, pin["State"], pin["Replaced"], pin["PackageName"]) == (200, "Expiring", False, "courier")
    item = item_of(env, "UpgradeBackupClients", ClientIds=[client])
    assert (item["errorCode"], item["toVersion"]) == ("Pinned", "")
    end = (env.now + timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert all(each in item["message"] for each in (end, env.root.arn, "year's end", "DeletePin")), item["message"]
    listed = env.ask(HBR.version, "DescribeBackupClients", ClientType="ECS_CLIENT")[1]["Clients"]
    assert [each["Reason"] for each in listed[0]["Pins"]] == ["year's end"]
    env.now += timedelta(days=3)
    env.heartbeat(pin["InstanceId"])
    assert ours(env, "ListPins")["Pins"][0]["State"] == "Expired"
    assert code_of(env, ClientIds=[client]) == ""


def test_a_pin_is_replaced_listed_and_deleted(env: Environment) -> None:
    """There is one on one thing; a client's is that of its package on its instance."""
    host, client = env.host_with_client()
    assert put(env, ClientId=client)[1]["Replaced"] is False
    found = put(env, InstanceId=host, PackageName="courier", Reason="audit", Versions="<2")[1]
    assert (found["Replaced"], found["Versions"], found["State"]) == (True, "<2", "Active")
    put(env, TagKey="env", TagValue="prod", Until=day(env, 1))
    listed = ours(env, "ListPins")
    assert [(p.get("TagKey"), p.get("InstanceId"), p["Reason"]) for p in listed["Pins"]] == [
        ("env", None, "year's end"),
        (None, host, "audit"),
    ]
    assert listed["Pins"][0]["Owner"] == env.root.arn
    assert ours(env, "DeletePin", ClientId=client)["Reason"] == "audit"
    assert env.ask(BACKFLEET.version, "DeletePin", ClientId=client)[1]["Code"] == "PinNotFound"
    assert ours(env, "ListPins")["TotalCount"] == 1


def test_a_deregistered_instance_takes_its_pins_along(env: Environment) -> None:
    """Its id is never given again. Pins that expired a month ago are deleted, too."""
    host, client = env.host_with_client()
    put(env, ClientId=client)
    put(env, TagKey="env", TagValue="prod", Until=day(env, 1))
    with env.services.database.transaction() as tx:
        fleet.deregister(tx, host, now=env.now)
    assert [p["TagKey"] for p in ours(env, "ListPins")["Pins"]] == ["env"]
    passed = iter([0.0, 0.0, 86400.0 * 40])
    housekeeping = Housekeeping(env.services, env.now, lambda: next(passed))
    housekeeping.run_once(env.now)
    assert ours(env, "ListPins")["TotalCount"] == 1
    housekeeping.run_once(env.now + timedelta(days=40))
    assert ours(env, "ListPins")["TotalCount"] == 0


@pytest.mark.parametrize(
    ("on", "of_instance", "of_client", "code"),
    [
        pytest.param({}, {"env": "prod"}, {}, "Pinned", id="a tag of its instance"),
        pytest.param({}, {}, {"env": "prod"}, "Pinned", id="a tag of the client itself"),
        pytest.param({}, {"env": "prod"}, {"env": "test"}, "", id="the client's own tag wins"),
        pytest.param({}, {"env": "test"}, {}, "", id="another value is another tag"),
        pytest.param({"PackageName": "other"}, {"env": "prod"}, {}, "", id="a pin of another package"),
        pytest.param({"PackageName": "courier"}, {"env": "prod"}, {}, "Pinned", id="a pin of its package"),
    ],
)
def test_a_pin_by_tag_holds_whoever_has_the_tag(
    shop: Environment, on: dict[str, str], of_instance: dict[str, str], of_client: dict[str, str], code: str
) -> None:
    """Now: tags that come later count as soon as they are there."""
    host, client = shop.host_with_client()
    put(shop, TagKey="env", TagValue="prod", **on)
    if of_instance:
        tag(shop, "instance", host, of_instance)
    if of_client:
        tag(shop, "client", client, of_client)
    assert code_of(shop, InstanceIds=[host]) == code


@pytest.mark.parametrize(
    ("product", "action", "named"),
    [
        (HBR, "UpgradeBackupClients", {}),
        (HBR, "UpgradeBackupClients", {"ReleaseVersion": "2.0"}),
        (HBR, "UninstallBackupClients", {}),
        (HBR, "InstallBackupClients", {"PackageName": "courier"}),
        (BACKFLEET, "RollBackClients", {}),
    ],
    ids=lambda each: each if isinstance(each, str) else None,
)
def test_whatever_would_move_a_pinned_client_is_refused(
    shop: Environment, product: Any, action: str, named: dict[str, str]
) -> None:
    """The client is as it was, and its neighbour moves."""
    host, client = shop.host_with_client()
    put(shop, InstanceId=host)
    assert code_of(shop, action, product.version, InstanceIds=[host], **named) == "Pinned"
    with shop.services.database.reading() as tx:
        (found,) = fleet.clients_on(tx, host)
    assert (found.id, found.status, found.failure) == (client, fleet.ClientStatus.ACTIVATED, None)
    other, _ = shop.host_with_client()
    assert code_of(shop, action, product.version, InstanceIds=[other], **named) == ""


def test_a_pin_keeps_a_package_from_coming_to_an_instance(shop: Environment) -> None:
    """No client is made; a version within the pin may come."""
    host = shop.host()
    put(shop, InstanceId=host, PackageName="courier")
    assert code_of(shop, "InstallBackupClients", InstanceIds=[host]) == "Pinned"
    with shop.services.database.reading() as tx:
        assert fleet.clients_on(tx, host) == []
    put(shop, InstanceId=host, PackageName="courier", Versions="1.0")
    assert code_of(shop, "InstallBackupClients", InstanceIds=[host], ReleaseVersion="2.0") == "Pinned"
    assert item_of(shop, "InstallBackupClients", InstanceIds=[host])["toVersion"] == "1.0"


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({}, "InvalidParameter", "Name one of"),
    ({"InstanceId": "<host>", "TagKey": "a"}, "InvalidParameter", "Name one of"),
    ({"ClientId": "<client>", "PackageName": "other"}, "InvalidParameter", "not of other"),
    ({"InstanceId": "<host>", "Until": "soon"}, "InvalidParameter", "write a day"),
    ({"InstanceId": "<host>", "Until": "2000-01-01"}, "InvalidParameter", "within 366 days"),
    ({"InstanceId": "<host>", "Until": "9999-12-31"}, "InvalidParameter", "within 366 days"),
    ({"InstanceId": "<host>", "Until": "0001-01-01T00:00:00+14:00"}, "InvalidParameter", "write a day"),
    ({"InstanceId": "<host>", "Until": "9999-12-31T23:59:59-14:00"}, "InvalidParameter", "write a day"),
    ({"InstanceId": "<host>", "TagValue": "prod"}, "InvalidParameter", "Name one of"),
    ({"ClientId": "<client>", "Versions": ","}, "InvalidParameter", "write a version, or a range"),
    ({"InstanceId": "<host>", "Versions": "2.0"}, "InvalidParameter", "of which package"),
    ({"ClientId": "<client>", "Versions": "nonsense <"}, "InvalidParameter", "write a version, or a range"),
    ({"ClientId": "c-unknown"}, "ResourceNotFound", "c-unknown"),
    ({"InstanceId": "mi-unknown"}, "InstanceNotExists", "mi-unknown"),
    ({"InstanceId": "<host>", "Reason": "x" * 201}, "InvalidParameter", "Reason"),
]


@pytest.mark.parametrize(("fields", "code", "text"), BAD)
def test_a_pin_that_cannot_be_is_refused(shop: Environment, fields: dict[str, Any], code: str, text: str) -> None:
    """With what was found, and nothing is stored."""
    host, client = shop.host_with_client()
    known = {"<host>": host, "<client>": client}
    status, body = put(shop, **{name: known.get(value, value) for name, value in fields.items()})
    assert (status >= 400, body["Code"]) == (True, code)
    assert text in body["Message"]
    assert ours(shop, "ListPins")["TotalCount"] == 0


def test_who_may_touch_a_client_may_pin_it_and_nobody_else(shop: Environment) -> None:
    """A pin by tag may be on any client, so it needs all of them. Another account sees nothing of it."""
    host, client = shop.host_with_client()
    other, _ = shop.host_with_client()
    arn = f"acs:ecs:*:*:instance/{host}"
    may = shop.user_with("bob", {"Effect": "Allow", "Action": "backfleet:*Pin*", "Resource": arn})
    assert put(shop, may, ClientId=client)[0] == 200
    assert put(shop, may, InstanceId=host)[1]["Owner"] == may.arn
    for fields in ({"InstanceId": other}, {"TagKey": "env", "TagValue": "prod"}):
        status, body = put(shop, may, **fields)
        assert (status, body["Code"]) == (403, "Forbidden.RAM"), body
    assert put(shop, shop.other_account, ClientId=client)[1]["Code"] == "ResourceNotFound"
    assert shop.ask(BACKFLEET.version, "ListPins", shop.other_account)[1]["Pins"] == []


def test_an_account_has_so_many_pins_and_no_more(shop: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is there can be put again."""
    monkeypatch.setattr("backfleet.fleet.pins.MOST_PINS", 1)
    assert put(shop, TagKey="a", TagValue="1")[0] == 200
    status, body = put(shop, TagKey="a", TagValue="2")
    assert (status, body["Code"]) == (409, "QuotaExceeded.Pin")
    assert put(shop, TagKey="a", TagValue="1")[1]["Replaced"] is True


@pytest.mark.parametrize("named", ["instance", "client"])
def test_a_tag_passes_no_deny_on_one_of_those_that_have_it(env: Environment, named: str) -> None:
    """Neither may the pin be put, nor deleted; without the tag on it both may."""
    others, _ = env.host_with_client("1.0")
    denied, client = env.host_with_client("1.0")
    arn = f"acs:ecs:*:*:instance/{denied}" if named == "instance" else f"acs:hbr:*:*:client/{client}"
    caller = env.user_with(
        "lea",
        {"Effect": "Allow", "Action": ["backfleet:PutPin", "backfleet:DeletePin"], "Resource": "*"},
        {"Effect": "Deny", "Action": ["backfleet:PutPin", "backfleet:DeletePin"], "Resource": arn},
    )
    for instance in (others, denied):
        tag(env, "instance", instance, {"site": "berlin"})
    on_tag = {"TagKey": "site", "TagValue": "berlin", "PackageName": "courier"}
    status, body = put(env, caller, **on_tag)
    assert (status, body["Code"]) == (403, "Forbidden.RAM")
    assert put(env, **on_tag)[0] == 200
    assert env.ask(BACKFLEET.version, "DeletePin", caller, **on_tag)[0] == 403
    tag(env, "instance", denied, {"site": "paris"})
    assert env.ask(BACKFLEET.version, "DeletePin", caller, **on_tag)[0] == 200
    assert put(env, caller, **on_tag)[0] == 200


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"TagKey": "acs:site", "TagValue": "a"}, "no tag begins with", id="a reserved key"),
        pytest.param({"TagKey": "Aliyun-x", "TagValue": "a"}, "no tag begins with", id="one in other letters"),
        pytest.param({"TagKey": "site\u202e", "TagValue": "a"}, "U+202E", id="a mark of direction in the key"),
        pytest.param({"TagKey": "site", "TagValue": "a\x1b[1m"}, "U+001B", id="a control character in the value"),
        pytest.param({"TagKey": "site", "TagValue": "a", "Reason": "a\nb"}, "U+000A", id="a line end in the reason"),
        pytest.param({"TagKey": "site", "TagValue": "a", "Versions": "1.0\n"}, "U+000A", id="a version's line end"),
    ],
)
def test_a_pin_has_no_words_that_deceive(shop: Environment, fields: dict[str, str], words: str) -> None:
    status, body = put(shop, **{"PackageName": "courier", **fields})
    assert (status, words in body["Message"]) == (400, True), body
