"""Messages reach real servers, survive what goes wrong on the way, and are never doubled by a second process."""

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from backfleet import notifications
from backfleet.ids import draw
from backfleet.notifications import Condition, Destination, Kind, Means, Sender, Way
from backfleet.notifications.mailing import read_mail
from backfleet.notifications.timing import PAUSES
from backfleet.outbound import Destinations
from backfleet.paging import Page
from backfleet.storage import Database
from rollouts.outside.servers import Talk, closes, drips, make_certificate, says, serving

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ACCOUNT = "1000000000000001"
SECRET = "whsec_" + "a2V5LW9mLXRoZS1ob29rLW9mLXRoZS1vbmNhbGw="
LOST = Condition(Kind.HOST_LOST, "mi-1", "host web-1 (mi-1) was last heard of at 11:00")


class Box:
    """An outbox with destinations, and how it is emptied."""

    def __init__(self, database: Database, **means: Any) -> None:
        self.database = database
        given = {"destinations": Destinations.read("127.0.0.0/8"), "trust": ssl.create_default_context()}
        self.means = Means(**{**given, "unseal": lambda sealed: sealed, "seconds": 60.0, **means})

    def add(self, way: Way, address: str, name: str = "oncall", **more: Any) -> None:
        given = {"kinds": (), "quiet": "", "created_at": NOW, "created_by": "me", "sealed_secret": SECRET, **more}
        with self.database.transaction() as tx:
            notifications.put_destination(tx, Destination(ACCOUNT, name, way, address, **given))

    def note(self, *found: Condition, now: datetime = NOW) -> int:
        with self.database.transaction() as tx:
            return notifications.note_conditions(tx, ACCOUNT, notifications.LASTING, found, now=now, draw=draw)

    def send(self, now: datetime = NOW) -> None:
        Sender(self.database, self.means).run_once(now)

    def all(self) -> list[notifications.Notice]:
        with self.database.reading() as tx:
            return list(notifications.notices_of(tx, ACCOUNT, None, Page(1, 200)).items)


@pytest.fixture
def box(database: Database) -> Box:
    return Box(database)


def posted(request: bytes) -> tuple[dict[str, str], dict[str, Any]]:
    """Return headers and body of what a webhook was sent."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = (line.decode().partition(": ") for line in head.split(b"\r\n")[1:])
    return {name.lower(): value for name, _, value in lines}, json.loads(body)


# --- What is said ----------------------------------------------------------------------------------------------------


def test_one_message_says_what_began_at_once(box: Box) -> None:
    """Of 500 hosts behind one broken line there is one message; it names twenty and counts them all."""
    box.add(Way.WEBHOOK, "http://127.0.0.1:1/")
    hosts = [Condition(Kind.HOST_LOST, f"mi-{number:03}", f"host {number}") for number in range(500)]
    assert box.note(*hosts, Condition(Kind.TASK_FAILED, "t-1", "task t-1 failed")) == 2
    by_kind = {notice.kind: json.loads(notice.body) for notice in box.all()}
    lost = by_kind[Kind.HOST_LOST]
    assert (lost["type"], lost["data"]["count"], len(lost["data"]["items"])) == ("host.lost", 500, 20)
    assert lost["data"]["summary"] == "500 hosts are not heard of"
    assert by_kind[Kind.TASK_FAILED]["data"]["summary"] == "task t-1 failed"


def test_a_condition_is_said_once_and_again_when_it_comes_back(box: Box) -> None:
    box.add(Way.WEBHOOK, "http://127.0.0.1:1/")
    assert box.note(LOST) == 1
    assert box.note(LOST) == 0
    assert box.note() == 0, "it is over"
    assert box.note(LOST) == 1


def test_a_destination_gets_the_kinds_that_it_wants(box: Box) -> None:
    box.add(Way.WEBHOOK, "http://127.0.0.1:1/", "hosts", kinds=(Kind.HOST_LOST,))
    box.add(Way.WEBHOOK, "http://127.0.0.1:1/", "rollouts", kinds=(Kind.ROLLOUT_HALTED,))
    box.note(LOST)
    assert [notice.destination for notice in box.all()] == ["hosts"]


def test_kinds_that_were_not_looked_at_are_not_over(box: Box) -> None:
    """A pass that looks at some kinds only leaves the others as they are."""
    box.add(Way.WEBHOOK, "http://127.0.0.1:1/")
    box.note(LOST)
    with box.database.transaction() as tx:
        notifications.note_conditions(tx, ACCOUNT, {Kind.TASK_FAILED}, [], now=NOW, draw=draw)
    assert box.note(LOST) == 0


# --- How it arrives --------------------------------------------------------------------------------------------------


def test_a_webhook_is_signed_and_delivered_once(box: Box) -> None:
    with serving(says("")) as (port, asked):
        box.add(Way.WEBHOOK, f"http://127.0.0.1:{port}/hook")
        box.note(LOST)
        box.send()
        box.send()
    ((headers, body),) = map(posted, asked)
    (notice,) = box.all()
    assert (notice.delivered_at, notice.next_at, notice.tries) == (NOW, None, 1)
    assert headers["webhook-id"] == notice.id
    assert headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    assert headers["webhook-signature"].startswith("v1,")
    assert body["data"]["items"] == [{"id": "mi-1", "text": LOST.text}]


@pytest.mark.parametrize("talk", [says("", 500), says("", 302, "Location: http://127.0.0.1:9/"), closes, drips])
def test_a_failed_delivery_is_tried_again_with_its_id_and_a_new_signature(box: Box, talk: Talk) -> None:
    """Whatever went wrong: an error, a redirect (never followed), nothing, or an answer without an end."""
    if talk is drips:
        box.means = replace(box.means, seconds=3.0)
    with serving(talk) as (port, asked):
        box.add(Way.WEBHOOK, f"http://127.0.0.1:{port}/")
        box.note(LOST)
        box.send()
        (notice,) = box.all()
        assert (notice.delivered_at, notice.tries, notice.next_at) == (None, 1, NOW + PAUSES[0])
        assert notice.problem
        box.send(NOW + PAUSES[0] - timedelta(seconds=1))
        assert len(asked) == 1
        box.send(NOW + PAUSES[0])
    (first, _), (second, _) = map(posted, asked)
    assert first["webhook-id"] == second["webhook-id"]
    assert first["webhook-timestamp"] != second["webhook-timestamp"]
    assert first["webhook-signature"] != second["webhook-signature"]


def test_a_message_that_never_arrives_is_given_up_and_can_be_replayed(box: Box) -> None:
    box.add(Way.WEBHOOK, "http://127.0.0.1:1/")
    box.note(LOST)
    now = NOW
    for _ in range(len(PAUSES) + 1):
        box.send(now)
        now = box.all()[0].next_at or now
    (notice,) = box.all()
    assert (notice.next_at, notice.tries, notice.delivered_at) == (None, len(PAUSES) + 1, None)
    with serving(says("")) as (port, asked):
        box.add(Way.WEBHOOK, f"http://127.0.0.1:{port}/")
        with box.database.transaction() as tx:
            notifications.replay(tx, ACCOUNT, notice.id, now=now)
        box.send(now)
    assert posted(asked[0])[0]["webhook-id"] == notice.id


def test_what_a_killed_process_has_taken_is_sent_by_the_next_one(box: Box) -> None:
    """A message is held for two minutes, and its id tells a receiver that it may have it already."""
    with serving(says("")) as (port, asked):
        box.add(Way.WEBHOOK, f"http://127.0.0.1:{port}/")
        box.note(LOST)
        with box.database.transaction() as tx:
            assert len(notifications._store.take_due(tx, NOW, NOW + timedelta(minutes=2), 50)) == 1
        box.send(NOW + timedelta(minutes=1))
        assert asked == []
        box.send(NOW + timedelta(minutes=2))
        assert len(asked) == 1


def test_quiet_hours_hold_a_message_back_and_a_test_goes_out(box: Box) -> None:
    with serving(says("")) as (port, asked):
        box.add(Way.WEBHOOK, f"http://127.0.0.1:{port}/", quiet="11:00-13:00")
        box.note(LOST)
        box.send()
        assert asked == []
        with box.database.transaction() as tx:
            notifications.test(tx, ACCOUNT, "oncall", now=NOW, draw=draw)
        box.send()
        assert [posted(each)[1]["type"] for each in asked] == ["test"]
        box.send(NOW + timedelta(hours=1))
        assert [posted(each)[1]["type"] for each in asked] == ["test", "host.lost"]


def test_a_webhook_goes_only_where_the_settings_allow(database: Database) -> None:
    """Checked on the address when it is sent, whatever was allowed when the destination was added."""
    with serving(says("")) as (port, asked):
        box = Box(
            database, destinations=Destinations.read("hooks.example.com"), resolve=lambda _name, _port: ["127.0.0.1"]
        )
        box.add(Way.WEBHOOK, f"http://hooks.example.com:{port}/")
        box.note(LOST)
        box.send()
    assert asked == []
    assert "127.0.0.1" in box.all()[0].problem


def test_what_waits_for_a_removed_destination_is_given_up(box: Box) -> None:
    box.add(Way.WEBHOOK, "http://127.0.0.1:1/")
    box.note(LOST)
    with box.database.transaction() as tx:
        notifications.delete_destination(tx, ACCOUNT, "oncall")
    box.send()
    (notice,) = box.all()
    assert (notice.next_at, notice.problem) == (None, "its destination was removed")


# --- Mail ------------------------------------------------------------------------------------------------------------


class Inbox:
    """Mail that has arrived."""

    def __init__(self) -> None:
        self.mails: list[Any] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.mails.append(message_from_bytes(envelope.content))
        return "250 taken"


def check(_server: Any, _session: Any, _envelope: Any, _mechanism: str, given: Any) -> AuthResult:
    assert isinstance(given, LoginPassword)
    return AuthResult(success=given.login == b"fleet" and given.password == b"pass word")


@contextmanager
def mail_server(tls: ssl.SSLContext, name: str) -> Iterator[tuple[int, Inbox]]:
    """A mail server that takes encrypted mail of one user only."""
    inbox = Inbox()
    controller = Controller(
        inbox, "127.0.0.1", 0, tls_context=tls, require_starttls=True, auth_required=True, authenticator=check,
        server_hostname=name,
    )  # fmt: skip
    controller.port = free_port()
    controller.start()
    try:
        yield controller.port, inbox
    finally:
        controller.stop()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("password", "arrives"), [pytest.param("pass word", True, id="right"), pytest.param("wrong", False, id="wrong")]
)
def test_mail_is_encrypted_and_logged_in(
    sqlite_database: Database, tmp_path: Path, password: str, arrives: bool
) -> None:
    """A wrong password is a problem that names no password."""
    certificate, tls = make_certificate(tmp_path, "localhost")
    trust = ssl.create_default_context(cafile=str(certificate))
    with mail_server(tls, "localhost") as (port, inbox):
        mail = read_mail(f"smtp://fleet@localhost:{port}", password, "backfleet@example.com")
        box = Box(sqlite_database, trust=trust, mail=mail, seconds=10.0)
        box.add(Way.MAIL, "oncall@example.com")
        box.note(Condition(Kind.HOST_LOST, "mi-1", "host evil\r\nBcc: all@example.com"))
        box.send()
    (notice,) = box.all()
    assert (notice.delivered_at is not None) is arrives
    assert password not in notice.problem + repr(mail)
    if arrives:
        (found,) = inbox.mails
        assert (found["To"], found["Bcc"]) == ("oncall@example.com", None)
        assert found["Message-ID"] == f"<{notice.id}@example.com>"
        assert "mi-1" in found.get_payload()
    else:
        assert inbox.mails == []


@pytest.mark.parametrize(
    ("url", "sender", "problem"),
    [
        ("http://mail.example.com", "a@example.com", "smtp_url must be of the form"),
        ("smtp://fleet:pass@mail.example.com", "a@example.com", "must not hold a password"),
        ("smtp+plain://mail.example.com", "a@example.com", "on this machine"),
        ("smtp://mail.example.com", "nobody", "must be a mail address"),
        ("smtp://mail.example.com", "a@example.com\r\nBcc: b@example.com", "must be a mail address"),
    ],
)
def test_settings_of_mail_that_cannot_be_used_are_refused(url: str, sender: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as refused:
        read_mail(url, "hush", sender)
    assert "hush" not in str(refused.value)
    assert "pass@" not in str(refused.value)


# --- The program of the settings -------------------------------------------------------------------------------------


def program(folder: Path, text: str) -> str:
    file = folder / "hook"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


def test_the_program_of_the_settings_gets_the_message_on_its_input(sqlite_database: Database, tmp_path: Path) -> None:
    box = Box(sqlite_database, program=program(tmp_path, f"cat > {tmp_path}/got; env > {tmp_path}/env"))
    box.add(Way.PROGRAM, "hook", "program")
    box.note(LOST)
    box.send()
    (notice,) = box.all()
    assert notice.delivered_at == NOW
    found = json.loads((tmp_path / "got").read_text())
    assert (found["id"], found["subject"], found["type"]) == (notice.id, LOST.text, "host.lost")
    assert "BACKFLEET" not in (tmp_path / "env").read_text()


@pytest.mark.parametrize(
    ("text", "problem"),
    [("exit 3", "ended with 3"), ("sleep 60 & exec sleep 60", "did not end within 2 s")],
)
def test_a_program_that_fails_or_hangs_is_tried_again(
    sqlite_database: Database, tmp_path: Path, text: str, problem: str
) -> None:
    box = Box(sqlite_database, program=program(tmp_path, text), seconds=2.0 if "2 s" in problem else 60.0)
    box.add(Way.PROGRAM, "hook", "program")
    box.note(LOST)
    box.send()
    (notice,) = box.all()
    assert problem in notice.problem
    assert notice.next_at == NOW + PAUSES[0]
