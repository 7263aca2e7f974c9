"""Why an item ended before its host reported an end, by how far the host had come: pure.

Each end has its own words, because what to do about it differs: a host that never fetched its order is as it was.
"""

from typing import Final

from backfleet.carriers import Reached

RESTORED: Final = (
    "the server was restored from a copy that was made while this was under way; its host is asked what it has now"
)
_BY_ITSELF: Final = "it finishes or rolls back by itself, and its report is recorded"
_UNTOUCHED: Final = "nothing was changed there"

# None: how far the host had come is not known.
EXPIRED: Final[dict[Reached | None, str]] = {
    None: "the task ran out of time before its host reported an end",
    Reached.NOT_FETCHED: f"the task ran out of time before its host fetched the order, so {_UNTOUCHED}; check that its "
    "agent runs and reaches this server (`backfleet instance show`)",
    Reached.FETCHED: "the host fetched the order and did not report that it began, and the task is out of time; should "
    f"it begin all the same, {_BY_ITSELF}",
    Reached.BEGUN: f"the host began and did not end in time; {_BY_ITSELF}",
    Reached.SILENT: f"the host began and then stopped reporting, and the task is out of time; {_BY_ITSELF}",
}
CANCELLED: Final[dict[Reached | None, str]] = {
    None: "the task was cancelled before its host reported an end",
    Reached.NOT_FETCHED: f"the task was cancelled before its host fetched the order, so {_UNTOUCHED}",
    Reached.FETCHED: "the task was cancelled after its host fetched the order and before it reported that it began; "
    f"the host is told to stop, and if it has begun to switch, {_BY_ITSELF}",
    Reached.BEGUN: "the task was cancelled while its host was at work; before the switch the host stops, after it "
    f"{_BY_ITSELF}",
    Reached.SILENT: "the task was cancelled after its host began and stopped reporting; it is told to stop, and if it "
    f"has begun to switch, {_BY_ITSELF}",
}
GONE: Final[dict[Reached, str]] = {
    Reached.NOT_FETCHED: f"its instance was deregistered before the host fetched the order, so {_UNTOUCHED}",
    Reached.FETCHED: "its instance was deregistered after the host fetched the order; whether it began is not known, "
    "and it cannot report any more",
    Reached.BEGUN: "its instance was deregistered while the host was at work; the host finishes or rolls back by "
    "itself, and cannot report any more",
}
GONE_CODE: Final = "InstanceNotExists"


def expired_text(reached: Reached | None) -> str:
    """Return the message of an item whose task is out of time."""
    return EXPIRED[reached]


def cancelled_text(reached: Reached | None) -> str:
    """Return the message of an item whose task was cancelled."""
    return CANCELLED[reached]


def gone_text(reached: Reached) -> str:
    """Return the message of an item whose instance was deregistered."""
    return GONE[min(reached, Reached.BEGUN)]
