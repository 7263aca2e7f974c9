"""What people are notified of, and how it reaches them. Knows neither hosts nor tasks.

Owns the tables notification_destinations, notification_conditions and notifications. Publishes `notifications`. Whoever
knows the product says which conditions hold; a message is made when one begins, and sent until it arrives.

- `put_destination`, `delete_destination`, `destinations_of`, `find_destination`, `accounts`: where messages go.
- `note_conditions` compares what holds with what was known, and puts messages into the outbox.
- `test`, `replay`, `notices_of`, `undelivered`: messages that a person asks for, and what became of each.
- `count_waiting`: how many messages wait, and since when, for monitoring.
- `Sender` delivers the outbox: webhooks, mail, the program of the settings.
"""

from backfleet.notifications._store import TOPIC, count_waiting
from backfleet.notifications.kinds import KINDS, LASTING, Kind
from backfleet.notifications.mailing import Mail, read_mail_server
from backfleet.notifications.model import Condition, Destination, Notice, Way
from backfleet.notifications.noticing import note_conditions
from backfleet.notifications.sending import Means, Sender
from backfleet.notifications.timing import read_quiet_hours
from backfleet.notifications.verbs import (
    MOST_DESTINATIONS,
    MOST_WAITING,
    DestinationMissing,
    NoticeMissing,
    TooManyDestinations,
    TooManyWaiting,
    accounts,
    delete_destination,
    destinations_of,
    notices_of,
    purge,
    put_destination,
    replay,
    test,
    undelivered,
)

__all__ = [
    "KINDS",
    "LASTING",
    "MOST_DESTINATIONS",
    "MOST_WAITING",
    "TOPIC",
    "Condition",
    "Destination",
    "DestinationMissing",
    "Kind",
    "Mail",
    "Means",
    "Notice",
    "NoticeMissing",
    "Sender",
    "TooManyDestinations",
    "TooManyWaiting",
    "Way",
    "accounts",
    "count_waiting",
    "delete_destination",
    "destinations_of",
    "note_conditions",
    "notices_of",
    "purge",
    "put_destination",
    "read_mail_server",
    "read_quiet_hours",
    "replay",
    "test",
    "undelivered",
]
