"""Every timer of the agent in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """Seconds, all of them. Where the official agent has the same timer, its value (protocol page, section 14)."""

    beat_least: float = 55.0
    beat_most: float = 65.0
    beat_again: float = 3.0  # a failed beat is tried once more after this, at most BEAT_TRIES_AN_HOUR times an hour

    ping: float = 60.0
    pong: float = 20.0  # without a pong for this long the socket is dead, whatever TCP thinks
    handshake: float = 15.0
    reconnect_first: float = 0.5
    reconnect_most: float = 30.0

    fetch_again: float = 3.0  # a kick that brought nothing is fetched once more
    fetch_first: float = 2.0  # after a failed fetch
    fetch_most: float = 30.0
    fetch_anyway: float = 300.0  # without any kick: safety net while the socket stands
    fetch_deaf: float = 30.0  # ... and while it does not, since no kick can come then

    report_first: float = 1.0
    report_most: float = 30.0
    report_refused: float = 300.0  # the longest pause after an answer that another try will hardly change

    look: float = 0.2  # how often the end of a process that is not our child is looked for
    silence: float = 60.0  # a running task says so at least this often
    order_grace: float = 900.0  # an order told to stop may finish or go back for this long
    script_grace: float = 15.0  # the process that runs a script, likewise


BEAT_TRIES_AN_HOUR = 3
