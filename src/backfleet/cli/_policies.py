"""Policies in files: sending them, and what is printed where one is refused."""

from pathlib import Path
from typing import Any

import click

from backfleet.cli._client import CallFailed, Client
from backfleet.cli._options import fail, print_faults, read_text
from backfleet_host.texts import counted

POLICY_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def call_with_policy(api: Client, action: str, file: Path, **more: object) -> dict[str, Any]:
    """Call an operation with the text of a policy. One with faults is refused: each is printed, the exit code is 1."""
    try:
        return api.call("backfleet", action, Policy=read_text(file, "a policy"), **more)
    except CallFailed as problem:
        faults = problem.answer.get("Faults")
        if not faults:
            raise
        print_faults(faults, file)
        fail(
            f"the policy in {file} is refused: {counted(len(faults), 'fault')}; nothing was changed",
            code=str(problem.answer.get("Code", "")), requestId=problem.answer.get("RequestId", ""), faults=faults,
        )  # fmt: skip
