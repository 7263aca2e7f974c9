"""Every timer of the agent, in one place."""

from __future__ import annotations

from dataclasses import dataclass

HEARTBEAT_RETRIES_AN_HOUR = 3


@dataclass(frozen=True)
class Timings:
    """The agent's timers, all in seconds.

    Where the official agent has the same timer, it has the same value. Source: protocol page, section 14.
    """

    heartbeat_least: float = 55.0
    heartbeat_most: float = 65.0
    heartbeat_retry: float = 3.0  # until a failed heartbeat is tried once more; see HEARTBEAT_RETRIES_AN_HOUR

    ping: float = 60.0
    pong: float = 20.0  # without a pong for this long the socket is dead, even if TCP has not noticed
    handshake: float = 15.0
    reconnect_first: float = 0.5
    reconnect_most: float = 30.0

    fetch_again: float = 3.0  # after a kick, if the list was empty: the kick may have been faster than the list
    fetch_retry_first: float = 2.0
    fetch_retry_most: float = 30.0
    fetch_interval: float = 300.0  # without any kick, while the socket is open
    fetch_interval_offline: float = 30.0  # the same while it is closed and no kick can arrive

    report_first: float = 1.0
    report_most: float = 30.0
    report_refused: float = 300.0  # the longest pause after an answer that another try is unlikely to change

    links: float = 60.0  # between two checks of the links of the program's own package

    process_poll: float = 0.2  # between two checks whether a task's process has ended
    running_report: float = 60.0  # a running task is reported at least this often
    order_grace: float = 900.0  # an order that was told to stop may finish or roll back for this long
    script_grace: float = 15.0  # the same for the process that runs a script
    runs_gather: float = 5.0  # after a run began or ended, before it is sent: others may follow
    runs_retry_first: float = 5.0  # until runs that the server did not take are sent again: a rollout may wait for them
    runs_retry_most: float = 300.0
