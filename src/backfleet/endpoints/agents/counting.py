"""The counter of answered agent requests."""

from prometheus_client import Counter

ANSWERED = Counter("backfleet_assist_requests_total", "Answered agent requests.", ["endpoint", "status"])
