"""Whether a command asks before it acts, and what `--dry-run` shows instead."""

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Any, Final

import click

from backfleet.cli._choosing import Target
from backfleet.cli._options import fail
from backfleet.cli._print import say
from backfleet.cli._tables import Output, layout, terminal_width
from backfleet.values import value_object
from backfleet_host.texts import printable

FEW: Final = 10  # hosts that a command may touch without a question
LISTED: Final = 20  # rows in front of a question
_ARE: Final = ("are", "is")
HEADINGS: Final = ("HOST", "INSTANCE", "CLIENT", "PACKAGE", "NOW", "THEN")


class Decision(StrEnum):
    """What comes before a command acts."""

    GO = "go"
    ASK = "ask"
    REFUSE = "refuse"


@value_object
class Circumstances:
    """What a decision depends on."""

    hosts: int
    is_terminal: bool  # somebody can answer
    has_yes: bool = False
    is_by_id: bool = False  # the caller wrote out the ids
    removes: bool = False  # it takes something away
    is_more_than_named: bool = False  # hosts were named, and have more clients than that


def decide(now: Circumstances) -> Decision:
    """Return whether a command goes on, asks, or needs `--yes`. Source: docs/decisions/0049-targets-by-name.md."""
    if now.has_yes:
        return Decision.GO
    if now.is_terminal:
        return Decision.ASK if now.removes or now.hosts > FEW else Decision.GO
    if now.removes and (now.hosts > FEW or now.is_more_than_named):
        return Decision.REFUSE
    return Decision.REFUSE if now.hosts > FEW and not now.is_by_id else Decision.GO


@value_object
class Plan:
    """What a command is about to do, for people."""

    verb: str  # such as "upgrade"
    targets: Sequence[Target]
    then: Callable[[Target], str]  # what a target has afterwards
    removes: bool = False
    current: int = 0  # targets that have what they are to have already; their hosts say so when they are asked
    refused: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # by target's id: code and why; of a preview

    @property
    def hosts(self) -> int:
        """How many hosts are touched."""
        return len({each.instance_id for each in self.targets})

    @property
    def summary(self) -> str:
        """What is to be done, in one line without an end."""
        clients = [each for each in self.targets if each.client_id]
        on = f"{self.hosts} host{'s' if self.hosts != 1 else ''}"
        if not clients:
            return f"{self.verb} {on}"
        counted = f"{self.verb} {len(clients)} client{'s' if len(clients) != 1 else ''} on {on}"
        return (
            f"{counted}, of which {self.current} {_ARE[self.current == 1]} current already" if self.current else counted
        )

    def _then(self, target: Target) -> str:
        refusal = self.refused.get(target.id)
        return self.then(target) if refusal is None else f"refused: {refusal[0]}"

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row for each target."""
        return [
            (
                each.label, each.instance_id, each.client_id, each.fields.get("package", ""),
                each.fields.get("version", ""), self._then(each),
            )
            for each in self.targets
        ]  # fmt: skip


def can_answer() -> bool:
    """Return whether somebody sits there who can answer a question."""
    return sys.stdin.isatty()


def yes_option(command: Any) -> Any:
    """Give a command --yes and --dry-run."""
    command = click.option("--yes", is_flag=True, help="Do not ask.")(command)
    return click.option("--dry-run", is_flag=True, help="Show what would be done, for each; change nothing.")(command)


def show_plan(plan: Plan, output: Output) -> None:
    """Print what would be done, and for what reasons some of it would be refused."""
    rows = plan.rows()
    documents = [
        dict(zip(HEADINGS, row, strict=True)) | _refusal_document(plan.refused.get(each.id))
        for each, row in zip(plan.targets, rows, strict=True)
    ]
    output.show(HEADINGS, rows, documents)
    if output.form != "table":
        return
    reasons = Counter(plan.refused.values())
    for (code, why), number in reasons.most_common(LISTED):
        say(f"refused: {code}, {number} of {len(rows)}: {why}")
    if len(reasons) > LISTED:
        say(f"and {len(reasons) - LISTED} more reasons")
    of_them = f"; {len(plan.refused)} would be refused" if plan.refused else ""
    say(f"would {plan.summary}{of_them}; nothing was changed")


def _refusal_document(refusal: tuple[str, str] | None) -> dict[str, str]:
    return {} if refusal is None else {"ErrorCode": refusal[0], "ErrorMessage": refusal[1]}


def confirm(plan: Plan, *, has_yes: bool, is_by_id: bool, is_more_than_named: bool = False) -> None:
    """Ask whether a plan is to be carried out, if that is needed. A no ends the command."""
    now = Circumstances(plan.hosts, can_answer(), has_yes, is_by_id, plan.removes, is_more_than_named)
    decision = decide(now)
    if decision is Decision.GO:
        return
    rows = plan.rows()
    if decision is Decision.REFUSE:
        listed = ", ".join(f"{row[0]} {row[3]}".strip() for row in rows[:3]) + (", ..." if len(rows) > 3 else "")
        fail(f"this would {plan.summary} ({listed}): add --yes to do it, or --dry-run to see it; nothing was done")
    for line in layout(HEADINGS, rows[:LISTED], terminal_width()).splitlines():
        click.echo(line, err=True)  # its parts are escaped
    if len(rows) > LISTED:
        say(f"and {len(rows) - LISTED} more", err=True)
    question = f"{plan.summary[:1].upper()}{plan.summary[1:]}?"
    if not click.confirm(printable(question), default=False, err=True):
        fail("nothing was done")
