"""The command line: an API client like any other, and the command that serves.

Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 done in part, 4 finished before it could be cancelled, 130 Ctrl-C.
"""

import click

from backfleet import VERSION
from backfleet.cli._audit import audit
from backfleet.cli._calendars import calendar
from backfleet.cli._clients import client
from backfleet.cli._doctor import doctor
from backfleet.cli._fleet import activation, instance
from backfleet.cli._identity import account, key, policy, user
from backfleet.cli._notify import notify
from backfleet.cli._pins import pin, pins, unpin
from backfleet.cli._releases import release
from backfleet.cli._roles import role
from backfleet.cli._rollouts import rollout
from backfleet.cli._runs import runs
from backfleet.cli._serve import serve
from backfleet.cli._signing import forget_keys, keys, pending, publish, sign
from backfleet.cli._tasks import task
from backfleet.cli._version_schemes import scheme

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="backfleet")
def main() -> None:
    """Upgrade the backup clients of a fleet without losing a backup."""


for _command in (
    serve, release, rollout, calendar, notify, activation, instance, client, task, account, user, role, key, policy,
    audit, doctor,
):  # fmt: skip
    main.add_command(_command)
for _command in (runs, pin, unpin, pins):
    client.add_command(_command)
for _command in (scheme, keys, pending, sign, publish, forget_keys):
    release.add_command(_command)
