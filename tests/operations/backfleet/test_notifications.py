"""Where people are notified: what the API takes and refuses, and which conditions are found."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from backfleet import hold, identity, notifications, releases
from backfleet.certificates import prepare_certificates
from backfleet.notifications import Condition, Kind
from backfleet.operations.noticing import PROGRAM, Watcher
from backfleet.paging import Page
from backfleet.settings import Settings
from operations.backfleet.conftest import Api
from operations.environment import Environment

HOOK = {"Name": "oncall", "Url": "https://hooks.example.com/x"}
SECRET = "whsec_" + "a2V5LW9mLXRoZS1ob29rLW9mLXRoZS1vbmNhbGw="


@pytest.fixture
def allowed(api: Api) -> Api:
    """A server whose settings allow one name."""
    settings = replace(api.services.settings, outbound_allowed="hooks.example.com")
    api.services = replace(api.services, settings=settings)
    return api


def test_a_destination_is_put_listed_replaced_and_deleted(allowed: Api) -> None:
    """The secret is shown once; a destination that is replaced without one keeps its own."""
    made = allowed("PutNotificationDestination", **HOOK, **{"Kinds.1": "host.lost"}, QuietHours="22:00-07:00")
    secret = made.pop("Secret")
    assert secret.startswith("whsec_")
    assert made.pop("Created") is True
    assert allowed("ListNotificationDestinations") == {"Destinations": [made]}
    assert (made["Way"], made["Kinds"], made["QuietHours"]) == ("webhook", ["host.lost"], "22:00-07:00")
    again = allowed("PutNotificationDestination", **HOOK)
    assert (again["Created"], again["Kinds"]) == (False, [])
    assert "Secret" not in again
    with allowed.services.database.reading() as tx:
        (stored,) = notifications.destinations_of(tx, allowed.caller.account_id)
    assert secret not in repr(stored) + stored.sealed_secret
    assert allowed("DeleteNotificationDestination", Name="oncall") == {}
    assert allowed("ListNotificationDestinations") == {"Destinations": []}


@pytest.mark.parametrize(
    ("flat", "text"),
    [
        pytest.param({}, "Give `Url` or `Mail`", id="neither"),
        pytest.param({"Url": HOOK["Url"], "Mail": "a@example.com"}, "Give `Url` or `Mail`", id="both"),
        pytest.param({"Url": "https://elsewhere.example.com/"}, "outbound_allowed", id="a place not allowed"),
        pytest.param({"Url": "http://169.254.169.254/latest"}, "outbound_allowed", id="the cloud's metadata"),
        pytest.param({"Url": "file:///etc/passwd"}, "begins with https", id="no web address"),
        pytest.param({"Url": "https://a:b@hooks.example.com/"}, "a user or a password", id="a password in it"),
        pytest.param({"Url": HOOK["Url"], "Kinds.1": "host.found"}, "known are backup.overdue", id="an unknown kind"),
        pytest.param({"Url": HOOK["Url"], "QuietHours": "night"}, "is not of the form", id="malformed hours"),
        pytest.param({"Url": HOOK["Url"], "Secret": "short"}, "at least 24 bytes", id="a short secret"),
        pytest.param({"Mail": "a@example.com", "Secret": SECRET}, "mail has none", id="a secret for mail"),
        pytest.param({"Mail": "a@example.com\r\nBcc: b"}, "Mail", id="a mail address with a line break"),
    ],
)
def test_a_destination_that_cannot_be_used_is_refused(allowed: Api, flat: dict[str, str], text: str) -> None:
    found = allowed("PutNotificationDestination", Name="oncall", **flat)
    assert found["Status"] == 400
    assert text in found["Message"]
    assert "short" not in found["Message"]
    assert allowed("ListNotificationDestinations") == {"Destinations": []}


def test_mail_without_a_mail_server_is_taken_with_a_warning(api: Api) -> None:
    found = api("PutNotificationDestination", Name="oncall", Mail="oncall@example.com")
    assert "smtp_url" in found["Warnings"][0]


def test_an_account_has_a_bounded_number_of_destinations(api: Api) -> None:
    for number in range(notifications.MOST_DESTINATIONS):
        api("PutNotificationDestination", Name=f"n{number}", Mail="a@example.com")
    assert api.refused("PutNotificationDestination", Name="more", Mail="a@example.com") == (
        409,
        "QuotaExceeded.NotificationDestination",
    )
    assert api("PutNotificationDestination", Name="n3", Mail="b@example.com")["Created"] is False


def test_tests_and_replays_are_messages_with_a_state(api: Api) -> None:
    api("PutNotificationDestination", Name="oncall", Mail="oncall@example.com")
    made = api("TestNotificationDestination", Name="oncall")["NotificationId"]
    (found,) = api("ListNotifications", Destination="oncall")["Notifications"]
    assert (found["NotificationId"], found["Kind"], found["State"]) == (made, "test", "waiting")
    assert api("ReplayNotification", NotificationId=made)["State"] == "waiting"
    assert api.refused("ReplayNotification", NotificationId="msg-x") == (404, "NotificationNotFound")
    assert api.refused("TestNotificationDestination", Name="x") == (404, "NotificationDestinationNotFound")
    assert api.refused("DeleteNotificationDestination", Name="x") == (404, "NotificationDestinationNotFound")


def test_tests_do_not_fill_the_outbox(api: Api) -> None:
    """Of a destination that takes nothing: at some point there are enough."""
    api("PutNotificationDestination", Name="oncall", Mail="oncall@example.com")
    for _ in range(notifications.MOST_WAITING):
        made = api("TestNotificationDestination", Name="oncall")["NotificationId"]
    refused = (409, "QuotaExceeded.Notification")
    assert api.refused("TestNotificationDestination", Name="oncall") == refused
    assert api.refused("ReplayNotification", NotificationId=made) == refused


# --- What is found ---------------------------------------------------------------------------------------------------


def messages(env: Environment) -> dict[str, dict[str, Any]]:
    """Return the data of every message so far, by kind."""
    with env.services.database.reading() as tx:
        found = notifications.notices_of(tx, env.root.account_id, None, Page(1, 200)).items
    return {notice.kind.value: json.loads(notice.body)["data"] for notice in found}


@pytest.fixture
def env(api: Api) -> Environment:
    made = Environment(api.services, api.services.settings.data, api.now, api.caller)
    with api.services.database.transaction() as tx:
        releases.refresh(tx, api.services.repository, now=api.now)
    api("PutNotificationDestination", Name="oncall", Mail="oncall@example.com")
    return made


def test_a_healthy_installation_says_nothing(env: Environment) -> None:
    """Not of its certificates, its signed metadata, nor a host that is there."""
    prepare_certificates(env.services.settings.data, ["localhost"], now=env.now)
    env.client(env.host())
    Watcher(env.services).run_once(env.now)
    assert messages(env) == {}


def test_hosts_that_are_lost_and_certificates_that_end_are_found(env: Environment) -> None:
    """Each once, until it is over."""
    prepare_certificates(env.services.settings.data, ["localhost"], now=env.now)
    host = env.host(name="web-1")
    env.host(stopped=True)
    later = env.now + timedelta(days=10 * 365 - 30)
    Watcher(env.services).run_once(later)
    found = messages(env)
    assert set(found) == {"host.lost", "certificate.ending", "root.ending"}
    assert [each["id"] for each in found["host.lost"]["items"]] == [host]
    assert "web-1" in found["host.lost"]["items"][0]["text"]
    with env.services.database.reading() as tx:
        before = notifications.notices_of(tx, env.root.account_id, None, Page(1, 200)).total
    Watcher(env.services).run_once(later + timedelta(minutes=1))
    with env.services.database.reading() as tx:
        assert notifications.notices_of(tx, env.root.account_id, None, Page(1, 200)).total == before


def test_conditions_of_the_server_are_for_the_administrator_account(env: Environment) -> None:
    """Another account learns of its own hosts only."""
    with env.services.database.transaction() as tx:
        other = identity.create_account(tx, env.services.vault, "other", now=env.now, draw=env.services.draw)
        theirs = identity.find_key(tx, env.services.vault, other.access_key_id)
        assert theirs is not None
        account = theirs.caller.account_id
        made = notifications.Destination(account, "x", notifications.Way.MAIL, "a@example.com", (), "", env.now, "me")
        notifications.put_destination(tx, made)
    env.host()
    Watcher(env.services).run_once(env.now + timedelta(days=3649))
    with env.services.database.reading() as tx:
        assert notifications.notices_of(tx, account, None, Page(1, 10)).total == 0
    assert "root.ending" in messages(env)


def test_the_program_of_the_settings_is_a_destination_while_it_is_set(env: Environment) -> None:
    """The API can neither make nor replace it."""
    with_program = replace(env.services.settings, notify_program="/usr/local/bin/page")
    Watcher(replace(env.services, settings=with_program)).run_once(env.now)
    status, found = env.ask("2026-11-01", "PutNotificationDestination", Name=PROGRAM, Mail="a@example.com")
    assert (status, "program in the server's settings" in found["Message"]) == (400, True)
    _, found = env.ask("2026-11-01", "ListNotificationDestinations")
    assert [each["Way"] for each in found["Destinations"]] == ["mail", "program"]
    Watcher(env.services).run_once(env.now)
    _, found = env.ask("2026-11-01", "ListNotificationDestinations")
    assert [each["Way"] for each in found["Destinations"]] == ["mail"]


def test_a_destination_of_people_that_is_called_program_stays(env: Environment) -> None:
    """The program of the settings gets another name."""
    assert env.ask("2026-11-01", "PutNotificationDestination", Name=PROGRAM, Mail="a@example.com")[0] == 200
    for path in ("/bin/page", "/bin/other"):
        services = replace(env.services, settings=replace(env.services.settings, notify_program=path))
        for _ in range(2):
            Watcher(services).run_once(env.now)
        found = env.ask("2026-11-01", "ListNotificationDestinations")[1]["Destinations"]
        assert [each["Name"] for each in found] == ["oncall", PROGRAM, "program-2"]
        assert [each["Way"] for each in found] == ["mail", "mail", "program"]
    Watcher(env.services).run_once(env.now)
    found = env.ask("2026-11-01", "ListNotificationDestinations")[1]["Destinations"]
    assert [each["Name"] for each in found] == ["oncall", PROGRAM]


def test_people_are_notified_of_a_restore_and_of_what_waits_for_a_signature(env: Environment) -> None:
    """With what to run."""
    (env.folder / "keys" / "release-targets.key").unlink()  # a new one is made, which no host trusts
    services = replace(env.services, repository=releases.Repository.open(env.folder))
    env.services = services
    env.release("1.1")
    with services.database.transaction() as tx:
        hold.begin(tx, copied_at=env.now - timedelta(days=1), now=env.now)
    Watcher(services).run_once(env.now)
    found = messages(env)
    assert "`backfleet release pending`" in found["signature.pending"]["summary"]
    assert "is held: `backfleet server show`" in found["server.restored"]["summary"]


def test_an_account_that_cannot_be_looked_at_holds_up_no_other(env: Environment) -> None:
    """Its time zone is not known to this machine any more, for example after a move."""
    with env.services.database.transaction() as tx:
        made = notifications.Destination(
            "0", "x", notifications.Way.MAIL, "a@example.com", (), "22:00-07:00 Nowhere/Else", env.now, "me"
        )
        notifications.put_destination(tx, made)
        lost = Condition(Kind.HOST_LOST, "mi-x", "x")
        with pytest.raises(ValueError, match="time zone"):
            notifications.note_conditions(tx, "0", {Kind.HOST_LOST}, [lost], now=env.now, draw=env.services.draw)
    env.host()
    env.host(account="0")
    Watcher(env.services).run_once(env.now + timedelta(days=1))
    assert "host.lost" in messages(env)


def test_two_processes_that_look_at_once_make_one_message(env: Environment) -> None:
    """The second finds the first one's note of the condition."""
    env.host()
    later = env.now + timedelta(days=1)
    account = env.root.account_id
    lost = Condition(Kind.HOST_LOST, "mi-x", "x")
    with env.services.database.transaction() as tx:
        assert notifications.note_conditions(tx, account, {Kind.HOST_LOST}, [lost], now=later, draw=env.services.draw)
        assert not notifications._store.add_condition(tx, account, Kind.HOST_LOST, "mi-x", later)


def test_settings_have_no_secret_in_their_text() -> None:
    """The password of the mail server is in a file of its own."""
    assert "password" not in repr(Settings(smtp_url="smtp://a@b", smtp_password_file="/x")).replace("password_file", "")
