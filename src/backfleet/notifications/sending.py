"""The loop that delivers the outbox, outside any transaction."""

import contextlib
import json
import logging
import os
import signal
import ssl
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from datetime import datetime, timedelta
from typing import Final

from prometheus_client import Counter

from backfleet.notifications import _store
from backfleet.notifications.mailing import Mail, send_mail
from backfleet.notifications.model import Destination, Notice, Way
from backfleet.notifications.timing import next_try
from backfleet.outbound import SECONDS, Destinations, NoAnswer, NotAllowed, Resolve, fetch, read_secret, resolve, signed
from backfleet.storage import Database
from backfleet.values import value_object

AT_ONCE: Final = 8  # deliveries under way
MOST: Final = 50  # deliveries of one round
HELD: Final = timedelta(minutes=2)  # for which no other process sends what this one has taken
LONGEST_PROBLEM: Final = 300  # characters kept

SENT = Counter("backfleet_notifications_total", "Tries to deliver notifications.", ["way", "outcome"])

log = logging.getLogger(__name__)


class Undelivered(Exception):
    """A notice could not be delivered. The text says why."""


@value_object
class Means:
    """What the server's settings give for sending.

    Args:
        destinations: Where webhooks may go.
        trust: Whose certificates are believed.
        unseal: Opens the secret of a webhook.
        mail: The mail server; None for none.
        program: Started with each notice on its standard input; "" for none.
        resolve: Finds the addresses of names.
        seconds: For one delivery.
    """

    destinations: Destinations
    trust: ssl.SSLContext = field(repr=False)
    unseal: Callable[[str], str] = field(repr=False)
    mail: Mail | None = None
    program: str = ""
    resolve: Resolve = resolve
    seconds: float = SECONDS


class Sender:
    """Delivers notices. Each is taken by one process at a time, and tried again until it is given up."""

    def __init__(self, database: Database, means: Means) -> None:
        self._database, self._means = database, means

    def run_once(self, now: datetime) -> bool:
        """Deliver what is due; return whether there may be more."""
        with self._database.transaction() as tx:
            due = _store.take_due(tx, now, now + HELD, MOST)
            places = {(notice.account_id, notice.destination) for notice in due}
            found = {place: _store.find_destination(tx, *place) for place in places}
        if not due:
            return False
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="notification") as pool:
            problems = list(pool.map(lambda each: self._try(each, found[each.account_id, each.destination], now), due))
        with self._database.transaction() as tx:
            for notice, problem in zip(due, problems, strict=True):
                _store.change(tx, notice.id, outcome(notice, problem, now))
        return len(due) == MOST

    def _try(self, notice: Notice, destination: Destination | None, now: datetime) -> str | None:
        """Return why a notice could not be delivered; None if it was; "" if nobody wants it any more."""
        if destination is None:
            return ""
        try:
            self._deliver(notice, destination, now)
        except (Undelivered, NoAnswer, NotAllowed, OSError, ValueError) as problem:
            SENT.labels(destination.way, "failed").inc()
            why = str(problem)[:LONGEST_PROBLEM] or type(problem).__name__
            log.warning("a notification was not delivered: %s", why, extra={"notification": notice.id})
            return why
        except Exception:  # one that nobody foresaw must not hold up the others; its text may be a secret
            log.exception("a notification could not be sent", extra={"notification": notice.id})
            SENT.labels(destination.way, "failed").inc()
            return "it failed; the log of the server says how"
        SENT.labels(destination.way, "delivered").inc()
        return None

    def _deliver(self, notice: Notice, destination: Destination, now: datetime) -> None:
        if destination.way is Way.WEBHOOK:
            self._post(notice, destination, now)
        elif destination.way is Way.MAIL:
            if self._means.mail is None:
                raise Undelivered("the server's settings have no `smtp_url`")
            send_mail(self._means.mail, destination.address, notice, self._means.trust, self._means.seconds)
        else:
            run_program(self._means.program, notice, self._means.seconds)

    def _post(self, notice: Notice, destination: Destination, now: datetime) -> None:
        """Post it with its own id, and the time and signature of this try. Source: Standard Webhooks."""
        place = self._means.destinations.place_of(destination.address, self._means.resolve)
        key = read_secret(self._means.unseal(destination.sealed_secret))
        body = notice.body.encode()
        headers = signed(key, notice.id, body, now)
        reply = fetch(place, "POST", body=body, headers=headers, trust=self._means.trust, seconds=self._means.seconds)
        if not 200 <= reply.status < 300:
            raise Undelivered(f"it answered {reply.status}")


def outcome(notice: Notice, problem: str | None, now: datetime) -> dict[str, object]:
    """Return what is written about a try: delivered, to be tried again, or given up. Pure."""
    tries = notice.tries + 1
    if problem is None:
        return {"tries": tries, "delivered_at": now, "next_at": None, "problem": ""}
    if not problem:
        return {"next_at": None, "problem": "its destination was removed"}
    return {"tries": tries, "next_at": next_try(tries, now), "problem": problem}


def run_program(program: str, notice: Notice, seconds: float) -> None:
    """Start the program of the settings, with the notice as JSON on its standard input.

    Raises:
        Undelivered: there is none, it failed, or it took too long.
    """
    if not program:
        raise Undelivered("the server's settings have no `notify_program`")
    given = json.dumps({"id": notice.id, "subject": notice.subject, **json.loads(notice.body)})
    with subprocess.Popen(
        [program],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        env={"PATH": os.defpath},
        start_new_session=True,
    ) as running:
        try:
            running.communicate(given, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise Undelivered(f"the program did not end within {seconds:g} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)  # also what it started and left behind
    if running.returncode:
        raise Undelivered(f"the program ended with {running.returncode}")
