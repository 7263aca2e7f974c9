"""Commands of callers (Cloud Assistant): saved, invoked on many instances, repeated, and looked up.

Owns the tables of saved commands, invocations, their records on each instance, runs, sent files and ClientTokens.
It is built on `commands`, which carries one command to one instance once.

- `save_command`, `find_command(s)`, `change_command`, `delete_command`: saved commands
- `invoke` a command on instances; `stop` an invocation
- `find_invocations`, `records_of`, `find_records`, `find_runs`, `files_of`, `usage`: what became of them
- `answered_before`, `remember_answer`: the same ClientToken gets the same answer
- `run_once` is the worker; `purge` deletes old results

Publishes on TOPIC, which wakes the worker, and subscribes to it.
"""

from backfleet.assistant.content import (
    BUILT_IN,
    BadName,
    EmptyName,
    LongName,
    TooManyNames,
    fill_in,
    longest_content,
    parameter_names,
    unknown_parameters,
)
from backfleet.assistant.files import write_script
from backfleet.assistant.invocations import (
    TOPIC,
    answered_before,
    files_of,
    find_invocations,
    find_records,
    find_runs,
    instances_of,
    invoke,
    records_of,
    remember_answer,
    usage,
)
from backfleet.assistant.model import (
    CommandFilter,
    Invocation,
    InvocationFilter,
    InvocationOptions,
    QuotaExceeded,
    Record,
    RecordFilter,
    Repeat,
    Run,
    SavedCommand,
    SentFile,
    Usage,
)
from backfleet.assistant.runs import stop
from backfleet.assistant.saved_commands import (
    change_command,
    delete_command,
    find_command,
    find_commands,
    save_command,
)
from backfleet.assistant.schedules import LONGEST, BadFrequency, read_frequency
from backfleet.assistant.states import (
    FILTERS,
    Overall,
    Status,
    legacy,
    legacy_overall,
    overalls_for,
    statuses_for,
)
from backfleet.assistant.worker import purge, run_once
from backfleet.idempotency import TokenReused

__all__ = [
    "BUILT_IN",
    "FILTERS",
    "LONGEST",
    "TOPIC",
    "BadFrequency",
    "BadName",
    "CommandFilter",
    "EmptyName",
    "Invocation",
    "InvocationFilter",
    "InvocationOptions",
    "LongName",
    "Overall",
    "QuotaExceeded",
    "Record",
    "RecordFilter",
    "Repeat",
    "Run",
    "SavedCommand",
    "SentFile",
    "Status",
    "TokenReused",
    "TooManyNames",
    "Usage",
    "answered_before",
    "change_command",
    "delete_command",
    "files_of",
    "fill_in",
    "find_command",
    "find_commands",
    "find_invocations",
    "find_records",
    "find_runs",
    "instances_of",
    "invoke",
    "legacy",
    "legacy_overall",
    "longest_content",
    "overalls_for",
    "parameter_names",
    "purge",
    "read_frequency",
    "records_of",
    "remember_answer",
    "run_once",
    "save_command",
    "statuses_for",
    "stop",
    "unknown_parameters",
    "usage",
    "write_script",
]
