"""What passes between a sender, this module and an agent. Plain values: no SQL."""

from datetime import datetime
from enum import IntEnum
from typing import Final

from backfleet.commands.states import FINAL, State
from backfleet.values import value_object

SHELL: Final = "RunShellScript"


@value_object
class NewInvocation:
    """One command to be run on one instance.

    `reference` is the sender's own name for it: sent twice under one topic, it is still one invocation.
    """

    account_id: str
    instance_id: str
    content: str
    timeout_seconds: int
    reference: str
    kind: str = SHELL  # the agent's word for what the content is
    working_directory: str = ""  # "" = the agent's choice
    username: str = ""  # "" = the user that the agent runs as
    termination: str = ""  # ProcessTree: time-out and stop end every process that it started, where the agent can


class Reached(IntEnum):
    """How far an invocation has come on its host, as far as we know. A larger one is further."""

    NOT_FETCHED = 0  # its agent never got it: nothing has happened there
    FETCHED = 1  # its agent got it, and has not reported that it began
    BEGUN = 2
    SILENT = 3  # it began, and its agent reports on it no more


@value_object
class HandedInvocation:
    """What an agent is given to run. `task_id` is its id in the agent's protocol."""

    task_id: str
    content: str
    timeout_seconds: int
    kind: str = SHELL
    working_directory: str = ""
    username: str = ""
    termination: str = ""


@value_object
class Handout:
    """The answer to an agent that fetches its tasks: what to run, and the ids of those to stop."""

    run: list[HandedInvocation]
    stop: list[str]


@value_object
class FinalReport:
    """An agent's report that an invocation is over.

    `kind` is the report's name on the wire, a key of `FINAL_REPORTS`. Times are the host's, in milliseconds.
    """

    kind: str
    exit_code: int | None = None
    error_code: str = ""
    error_text: str = ""
    dropped: int = 0  # bytes of output that the agent did not send
    output: bytes = b""
    started_ms: int | None = None
    ended_ms: int | None = None


@value_object
class Progress:
    """What reports change of an invocation, and whose it is. Times are the host's where they are in milliseconds."""

    id: str
    instance_id: str
    topic: str
    state: State
    lease_until: datetime | None
    output: bytes
    dropped: int
    started_ms: int | None
    ended_ms: int | None
    exit_code: int | None
    error_code: str
    error_text: str
    changed_at: datetime
    revision: int


@value_object
class AgentReport:
    """What an agent reports of one invocation: its end if `final` is given, else that it runs and what it printed."""

    instance_id: str
    task_id: str
    at: datetime
    final: FinalReport | None = None
    chunk: bytes = b""  # empty: only that it runs
    started_ms: int | None = None


FINAL_REPORTS: Final = {
    "finish": State.FINISHED,
    "timeout": State.TIMED_OUT,
    "stopped": State.STOPPED,
    "error": State.FAILED,
    "invalid": State.REFUSED,
}
"""The final reports of the agent's protocol, and the state that each leads to."""


@value_object
class Outcome:
    """The newest facts about one invocation, progress included. A higher `revision` is newer."""

    task_id: str
    reference: str
    state: State
    exit_code: int | None
    error_code: str
    error_text: str
    output: bytes
    changed_at: datetime
    revision: int
    dropped: int = 0  # bytes of output that are lost
    started_ms: int | None = None  # by the host's clock
    ended_ms: int | None = None
    instance_id: str = ""
    was_handed: bool = True  # of one that is gone: its agent had fetched it

    @property
    def reached(self) -> Reached:
        """How far it came."""
        began = self.started_ms is not None or bool(self.output)
        if self.state is State.GONE and not began:
            return Reached.FETCHED if self.was_handed else Reached.NOT_FETCHED
        if self.state in (State.LOST, State.HANDED):
            return Reached.SILENT if began else Reached.FETCHED
        return Reached.NOT_FETCHED if self.state in (State.WAITING, State.CANCELLED) else Reached.BEGUN

    @property
    def is_final(self) -> bool:
        """Whether nothing more can follow. A lost invocation is not final."""
        return self.state in FINAL
