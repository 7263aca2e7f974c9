"""Short timers of an agent. A module of its own: agents of tests import it, and nothing else of the tests."""

from backfleet_host.agent.timings import Timings

QUICK = Timings(
    heartbeat_retry=0.1,
    pong=1.0,
    handshake=5.0,
    reconnect_first=0.05,
    reconnect_most=0.3,
    fetch_again=0.1,
    fetch_retry_first=0.1,
    fetch_retry_most=0.3,
    fetch_interval_offline=1.0,
    report_first=0.1,
    report_most=0.3,
    report_refused=0.5,
    process_poll=0.05,
    order_grace=2.0,
    script_grace=2.0,
    runs_gather=0.05,
    runs_retry_first=0.3,
    runs_retry_most=0.3,
)
