"""Checks of an account's cloud accounts, and of what is imported from them."""

from collections.abc import Iterator

from backfleet.carriers import ecs
from backfleet.checks import Finding, Severity, named_some
from backfleet.checks.finding import MOST_NAMED
from backfleet.operations.catalogue import Call
from backfleet.storage import Transaction


def check_clouds(tx: Transaction, call: Call) -> Iterator[Finding]:
    """Check that each cloud account answers, and that each import finds what it names. Nothing without any."""
    known = ecs.accounts_of(tx, call.account_id)
    if not known:
        return
    failing = [each for each in known if each.problem_code]
    if failing:
        found = "; ".join(f"{each.name}: {each.problem_code}: {each.problem}" for each in failing[:MOST_NAMED])
        advice = "see `backfleet ecs-account list`, and docs/ecs.md for each code"
        yield Finding("CloudAccounts", Severity.ERROR, found, advice, [each.name for each in failing[:MOST_NAMED]])
    else:
        yield Finding.ok("CloudAccounts", f"{named_some([each.name for each in known])} answered")
    unfit = [each for each in ecs.imports_of(tx, call.account_id) if each.problem_code]
    if unfit:
        found = "; ".join(f"{each.import_id}: {each.problem_code}: {each.problem}" for each in unfit[:MOST_NAMED])
        advice = "see `backfleet ecs-import list`; delete an import that is not wanted any more"
        yield Finding("CloudImports", Severity.WARNING, found, advice, [each.import_id for each in unfit[:MOST_NAMED]])
