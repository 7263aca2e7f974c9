"""Where people are notified, and what became of each message."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from backfleet import notifications, rollouts
from backfleet.notifications import Destination, Kind, Notice, Way, read_quiet_hours
from backfleet.operations.catalogue import BACKFLEET, Call, Services, operation
from backfleet.operations.hbr.answers import seconds
from backfleet.outbound import Destinations, read_secret
from backfleet.paging import Page
from backfleet.values import value_object
from backfleet.wire.errors import ApiError, InvalidParameter
from backfleet.wire.parameters import integer, repeat, text
from backfleet.wire.shapes import Maybe

NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
MAIL: Final = r"[^\s@<>,;:\"]{1,64}@[A-Za-z0-9.-]{1,190}"
BOX: Final = "notifications"
"""The box of the vault that secrets of webhooks are sealed in."""

DESTINATION: Final = {
    "Name": str,
    "Way": str,
    "Address": str,
    "Kinds": [str],
    "QuietHours": str,
    "CreatedTime": int,
    "CreatedBy": str,
}
NOTIFICATION: Final = {
    "NotificationId": str,
    "Destination": str,
    "Kind": str,
    "Subject": str,
    "State": str,  # waiting, delivered, given up
    "Tries": int,
    "CreatedTime": int,
    "NextTry": Maybe(int),
    "DeliveredTime": Maybe(int),
    "Problem": str,
}


class DestinationNotFound(ApiError):
    """The account has no destination of this name."""

    code = "NotificationDestinationNotFound"
    status = 404

    def __init__(self) -> None:
        super().__init__("This account has no destination of this name.")


class DestinationInUse(ApiError):
    """A rollout that has not ended names the destination."""

    code = "NotificationDestinationInUse"
    status = 409

    def __init__(self, rollout_id: str) -> None:
        super().__init__(
            f"The policy of rollout {rollout_id} has this destination notified, and the rollout has not ended. Wait, "
            "cancel it, or put another address in its place (PutNotificationDestination)."
        )


class NotificationNotFound(ApiError):
    """The account has no notification of this id."""

    code = "NotificationNotFound"
    status = 404

    def __init__(self) -> None:
        super().__init__("There is no notification of this id in this account. It may have been deleted for its age.")


class QuotaExceeded(ApiError):
    """The account has as many destinations as it may."""

    code = "QuotaExceeded.NotificationDestination"
    status = 409

    def __init__(self) -> None:
        most = notifications.MOST_DESTINATIONS
        super().__init__(f"The account has {most} destinations, as many as it may. Delete one.")


class TooManyWaiting(ApiError):
    """So many notifications of the account wait that no test and no replay is taken."""

    code = "QuotaExceeded.Notification"
    status = 409

    def __init__(self) -> None:
        most = notifications.MOST_WAITING
        super().__init__(f"{most} notifications of the account wait already. Mend or delete their destinations first.")


@value_object
class PutDestination:
    """A name, and a URL or a mail address."""

    name: str = text("Name", required=True, longest=64, pattern=NAME)
    url: str | None = text("Url", longest=1024)
    mail: str | None = text("Mail", longest=255, pattern=MAIL)
    kinds: tuple[str, ...] = repeat("Kinds", most=len(Kind))
    quiet: str = text("QuietHours", default="", longest=96)
    secret: str | None = text("Secret", longest=256, secret=True)


@value_object
class OneDestination:
    """A destination."""

    name: str = text("Name", required=True, longest=64, pattern=NAME)


@value_object
class NoParameters:
    """Nothing."""


@value_object
class ListNotifications:
    """A page, of one destination or of all."""

    destination: str | None = text("Destination", longest=64, pattern=NAME)
    page_number: int = integer("PageNumber", default=1, least=1, most=1_000_000)
    page_size: int = integer("PageSize", default=50, least=1, most=200)


@value_object
class OneNotification:
    """A notification."""

    notification_id: str = text("NotificationId", required=True, longest=64)


def every_destination(call: Call, asked: Any) -> list[str]:
    """Return the ARN of an account's destinations."""
    return [f"acs:backfleet:{call.region}:{call.account_id}:notification/*"]


def one_destination(call: Call, asked: Any) -> list[str]:
    """Return the ARN of the destination that a request names."""
    return [f"acs:backfleet:{call.region}:{call.account_id}:notification/{asked.name}"]


def unseal_secret(services: Services, sealed: str) -> str:
    """Return the secret of a webhook."""
    return services.vault.box(BOX).unseal(sealed)


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except notifications.DestinationMissing:
        raise DestinationNotFound from None
    except notifications.NoticeMissing:
        raise NotificationNotFound from None
    except notifications.TooManyWaiting:
        raise TooManyWaiting from None
    except notifications.TooManyDestinations:
        raise QuotaExceeded from None


@operation(
    BACKFLEET,
    "PutNotificationDestination",
    action="backfleet:PutNotificationDestination",
    resources=one_destination,
    answer={**DESTINATION, "Created": bool, "Secret": Maybe(str), "Warnings": Maybe([str])},
    errors=(QuotaExceeded,),
)
def put_destination(call: Call, asked: PutDestination) -> dict[str, Any]:
    """Store where people are notified, in place of the destination of its name.

    A webhook must be allowed by `outbound_allowed` in the server's settings. It is signed (Standard Webhooks) with
    `Secret`, or with one that is made and shown in this answer only; a replaced webhook keeps its own.

    Raises:
        InvalidParameter: neither `Url` nor `Mail`, or both; or one that cannot be used.
    """
    kinds = _kinds(asked.kinds)
    try:
        read_quiet_hours(asked.quiet)
    except ValueError as problem:
        raise InvalidParameter(f"`QuietHours` cannot be used: {problem}.") from None
    way, address = _way(call, asked)
    with _refusals(), call.services.database.transaction() as tx:
        before = {each.name: each for each in notifications.destinations_of(tx, call.account_id)}.get(asked.name)
        if before is not None and before.way is Way.PROGRAM:
            raise InvalidParameter("`Name` is that of the program in the server's settings. Choose another one.")
        kept = before.sealed_secret if before is not None and way is Way.WEBHOOK else ""
        secret, sealed = _secret(call, asked, kept) if way is Way.WEBHOOK else (None, "")
        made = Destination(
            call.account_id, asked.name, way, address, kinds, asked.quiet, call.now, call.caller.arn, sealed
        )
        is_new = notifications.put_destination(tx, made)
    found = {**_shown(made), "Created": is_new}
    found |= {"Secret": secret} if secret else {}
    if way is Way.MAIL and not call.services.settings.smtp_url:
        found["Warnings"] = ["The server's settings have no smtp_url: no mail can be sent until they have."]
    return found


def _kinds(names: tuple[str, ...]) -> tuple[Kind, ...]:
    known = sorted(kind.value for kind in Kind if kind is not Kind.TEST)
    for name in names:
        if name not in known:
            raise InvalidParameter(f"`Kinds` has {name[:64]!r}; known are {', '.join(known)}.")
    return tuple(Kind(name) for name in dict.fromkeys(names))


def _way(call: Call, asked: PutDestination) -> tuple[Way, str]:
    if (asked.url is None) is (asked.mail is None):
        raise InvalidParameter("Give `Url` or `Mail`, one of them.")
    if asked.mail is not None:
        if asked.secret is not None:
            raise InvalidParameter("`Secret` is for webhooks; mail has none.")
        return Way.MAIL, asked.mail
    url = str(asked.url)
    why = Destinations.read(call.services.settings.outbound_allowed).refusal(url)
    if why:
        raise InvalidParameter(f"`Url` cannot be used: {why}.")
    return Way.WEBHOOK, url


def _secret(call: Call, asked: PutDestination, kept: str) -> tuple[str | None, str]:
    """Return the secret to show, if one was made, and the one to store, sealed."""
    if asked.secret is None and kept:
        return None, kept
    made = None if asked.secret else "whsec_" + base64.b64encode(call.services.draw(36).encode()).decode()
    given = asked.secret or str(made)
    try:
        read_secret(given)
    except ValueError as problem:
        raise InvalidParameter(f"`Secret` cannot be used: {problem}.") from None
    return made, call.services.vault.box(BOX).seal(given)


@operation(
    BACKFLEET,
    "ListNotificationDestinations",
    action="backfleet:ListNotificationDestinations",
    resources=every_destination,
    answer={"Destinations": [DESTINATION]},
)
def list_destinations(call: Call, asked: NoParameters) -> dict[str, Any]:
    """List the account's destinations by name, without their secrets."""
    with call.services.database.reading() as tx:
        return {"Destinations": [_shown(each) for each in notifications.destinations_of(tx, call.account_id)]}


@operation(
    BACKFLEET,
    "DeleteNotificationDestination",
    action="backfleet:DeleteNotificationDestination",
    resources=one_destination,
    answer={},
    errors=(DestinationNotFound, DestinationInUse),
)
def delete_destination(call: Call, asked: OneDestination) -> dict[str, Any]:
    """Delete a destination that no unfinished rollout names. What still waits for it is given up.

    Raises:
        ApiError: as `_refusals`; DestinationInUse for the first rollout that has it notified.
    """
    with _refusals(), call.services.database.transaction() as tx:
        users = rollouts.notifying(tx, call.account_id, asked.name)
        if users:
            raise DestinationInUse(users[0])
        notifications.delete_destination(tx, call.account_id, asked.name)
    return {}


@operation(
    BACKFLEET,
    "TestNotificationDestination",
    action="backfleet:TestNotificationDestination",
    resources=one_destination,
    answer={"NotificationId": str},
    errors=(DestinationNotFound, TooManyWaiting),
)
def test_destination(call: Call, asked: OneDestination) -> dict[str, Any]:
    """Send a test to a destination, also in its quiet hours. ListNotifications says what became of it."""
    with _refusals(), call.services.database.transaction() as tx:
        made = notifications.test(tx, call.account_id, asked.name, now=call.now, draw=call.services.draw)
    return {"NotificationId": made.id}


@operation(
    BACKFLEET,
    "ListNotifications",
    action="backfleet:ListNotifications",
    resources=every_destination,
    answer={"Notifications": [NOTIFICATION], "PageNumber": int, "PageSize": int, "TotalCount": int},
)
def list_notifications(call: Call, asked: ListNotifications) -> dict[str, Any]:
    """List the account's notifications, newest first, with what became of each."""
    with call.services.database.reading() as tx:
        page = Page(asked.page_number, asked.page_size)
        found = notifications.notices_of(tx, call.account_id, asked.destination, page)
    return {
        "Notifications": [_notification(each) for each in found.items],
        "PageNumber": asked.page_number,
        "PageSize": asked.page_size,
        "TotalCount": found.total,
    }


@operation(
    BACKFLEET,
    "ReplayNotification",
    action="backfleet:ReplayNotification",
    resources=every_destination,
    answer=NOTIFICATION,
    errors=(NotificationNotFound, TooManyWaiting),
)
def replay_notification(call: Call, asked: OneNotification) -> dict[str, Any]:
    """Send a notification again, with the same id: a receiver that has it can leave it out."""
    with _refusals(), call.services.database.transaction() as tx:
        return _notification(notifications.replay(tx, call.account_id, asked.notification_id, now=call.now))


def _shown(destination: Destination) -> dict[str, Any]:
    return {
        "Name": destination.name,
        "Way": destination.way.value,
        "Address": destination.address,
        "Kinds": [kind.value for kind in destination.kinds],
        "QuietHours": destination.quiet,
        "CreatedTime": seconds(destination.created_at),
        "CreatedBy": destination.created_by,
    }


def _notification(notice: Notice) -> dict[str, Any]:
    state = "waiting" if notice.next_at else "delivered" if notice.delivered_at else "given up"
    found: dict[str, Any] = {
        "NotificationId": notice.id,
        "Destination": notice.destination,
        "Kind": notice.kind.value,
        "Subject": notice.subject,
        "State": state,
        "Tries": notice.tries,
        "CreatedTime": seconds(notice.created_at),
        "Problem": notice.problem,
    }
    found |= {"NextTry": seconds(notice.next_at)} if notice.next_at else {}
    return found | ({"DeliveredTime": seconds(notice.delivered_at)} if notice.delivered_at else {})
