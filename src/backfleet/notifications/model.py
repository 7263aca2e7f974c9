"""Destinations, conditions, and the notices that are on their way."""

from dataclasses import field
from datetime import datetime
from enum import StrEnum

from backfleet.notifications.kinds import Kind
from backfleet.values import value_object


class Way(StrEnum):
    """How a destination is reached."""

    WEBHOOK = "webhook"
    MAIL = "mail"
    PROGRAM = "program"  # of the server's settings; never by the API


@value_object
class Condition:
    """Something that is so now, and that people want to know.

    Args:
        kind: What it is.
        subject: What it is about, by its id: a host, a task ...
        text: One line for people.
        to: Names of destinations that get it whatever kinds they ask for.
    """

    kind: Kind
    subject: str
    text: str
    to: tuple[str, ...] = ()


@value_object
class Destination:
    """Where notices of an account go. Times in UTC."""

    account_id: str
    name: str
    way: Way
    address: str  # a URL, or a mail address
    kinds: tuple[Kind, ...]  # () = all
    quiet: str  # hours in which nothing is sent, such as `22:00-07:00 Europe/Berlin`; "" = none
    created_at: datetime
    created_by: str  # an ARN
    sealed_secret: str = field(default="", repr=False)

    def wants(self, kind: Kind) -> bool:
        """Return whether it gets this kind."""
        return kind is Kind.TEST or not self.kinds or kind in self.kinds


@value_object
class Notice:
    """One message to one destination. It is kept after it was delivered, so that it can be sent again."""

    id: str
    account_id: str
    destination: str
    kind: Kind
    subject: str  # one line
    body: str  # JSON: {"type", "timestamp", "data"}
    created_at: datetime
    next_at: datetime | None  # None: delivered, or given up
    tries: int = 0
    delivered_at: datetime | None = None
    problem: str = ""  # of the last try
