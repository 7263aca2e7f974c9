"""One command on one instance, once. Knows neither what a command is for nor who asked.

Owns the table invocations. Verbs: `send_many`, `stop` and `take_back` for senders, `outcomes` and `collected` for the
news of what they sent; `waiting_for` and `claim` for the agents' door, `output` and `ended` for what agents report;
`look` after leases. Rings `instance/<id>` when an agent should ask, and the sender's topic when there is news.
"""

from backfleet.commands._store import drop_before
from backfleet.commands.reporting import (
    ENDINGS,
    LONGEST_OUTPUT,
    Ending,
    Outcome,
    collected,
    ended,
    has_news,
    outcomes,
    output,
)
from backfleet.commands.sending import (
    LONGEST_CONTENT,
    SHELL,
    Command,
    Handout,
    Send,
    claim,
    instances_with_work,
    send_many,
    stop,
    sweep,
    take_back,
    topic_of,
    waiting_for,
)
from backfleet.commands.states import State
from backfleet.commands.worker import look

__all__ = [
    "ENDINGS",
    "LONGEST_CONTENT",
    "LONGEST_OUTPUT",
    "SHELL",
    "Command",
    "Ending",
    "Handout",
    "Outcome",
    "Send",
    "State",
    "claim",
    "collected",
    "drop_before",
    "ended",
    "has_news",
    "instances_with_work",
    "look",
    "outcomes",
    "output",
    "send_many",
    "stop",
    "sweep",
    "take_back",
    "topic_of",
    "waiting_for",
]
