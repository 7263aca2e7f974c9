"""One command on one instance, run once. Knows neither what a command is for nor who asked.

Owns the table `invocations`. Publishes `instance/<id>` when an agent should fetch its tasks, and the sender's topic
when there is news for the sender.

For senders:
    send: queue invocations under the sender's topic, each once
    stop, withdraw: end them; what nobody has fetched yet is cancelled
    end_gone: end what was sent to an instance that is deregistered
    end_open: end everything, after a restore
    outcomes, has_news, count_news, mark_collected: read the news of what was sent
    waiting: what nobody has fetched for long
    drop_before: forget old ones
For monitoring:
    count_waiting: how many wait for their agents, and since when
For the agents' endpoint, and for carriers that go to hosts:
    oldest_work_for, instances_with_work, has_work: find instances that have work
    claim, claim_for_each: hand out instances' waiting invocations under a lease
    lost_among: which of those to stop nobody reports on
    is_withdrawn: whether a sender wants an invocation stopped, for a host that asks
    still_wanted: which of these a carrier may still send
    end_all: act on an agent's start: it has forgotten what it had
    record_output, record_final_report, record_reports: write down what agents report
For the worker:
    run_once: act on leases that ran out
    note_round: renew them where no server could look, or the clock was set; rounds_go_on: whether that is not due
"""

from backfleet.commands._store import count_waiting, drop_before, is_withdrawn, still_wanted, waiting
from backfleet.commands.model import (
    FINAL_REPORTS,
    SHELL,
    AgentReport,
    FinalReport,
    HandedInvocation,
    Handout,
    NewInvocation,
    Outcome,
    Reached,
)
from backfleet.commands.reporting import (
    ALREADY_STARTED,
    LONGEST_OUTPUT,
    count_news,
    has_news,
    mark_collected,
    outcomes,
    record_final_report,
    record_output,
    record_reports,
    with_chunk,
)
from backfleet.commands.sending import (
    LONGEST_CONTENT,
    WORK,
    claim,
    claim_for_each,
    end_all,
    end_gone,
    end_open,
    has_work,
    instances_with_work,
    lost_among,
    oldest_work_for,
    send,
    stop,
    sweep,
    topic_of,
    withdraw,
)
from backfleet.commands.states import State
from backfleet.commands.worker import note_round, rounds_go_on, run_once

__all__ = [
    "ALREADY_STARTED",
    "FINAL_REPORTS",
    "LONGEST_CONTENT",
    "LONGEST_OUTPUT",
    "SHELL",
    "WORK",
    "AgentReport",
    "FinalReport",
    "HandedInvocation",
    "Handout",
    "NewInvocation",
    "Outcome",
    "Reached",
    "State",
    "claim",
    "claim_for_each",
    "count_news",
    "count_waiting",
    "drop_before",
    "end_all",
    "end_gone",
    "end_open",
    "has_news",
    "has_work",
    "instances_with_work",
    "is_withdrawn",
    "lost_among",
    "mark_collected",
    "note_round",
    "oldest_work_for",
    "outcomes",
    "record_final_report",
    "record_output",
    "record_reports",
    "rounds_go_on",
    "run_once",
    "send",
    "still_wanted",
    "stop",
    "sweep",
    "topic_of",
    "waiting",
    "with_chunk",
    "withdraw",
]
