"""The counter of answered agent requests."""

import functools

from prometheus_client import Counter

ANSWERED = Counter("backfleet_assist_requests_total", "Answered agent requests.", ["endpoint", "status"])


@functools.lru_cache(maxsize=1000)
def answered(endpoint: str, status: int) -> Counter:
    """Return the counter of one kind of answers: to look for it costs more than to count."""
    return ANSWERED.labels(endpoint, status)
