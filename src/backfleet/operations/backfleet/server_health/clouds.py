"""Checks of an account's cloud accounts, and of what is imported from them, whatever the cloud."""

from collections.abc import Iterator
from typing import Final

from backfleet.carriers import ecs
from backfleet.checks import Finding, Severity, named_some
from backfleet.checks.finding import MOST_NAMED
from backfleet.fleet import CarrierKind
from backfleet.operations.catalogue import Call
from backfleet.storage import Transaction

CLOUDS: Final = (CarrierKind.ECS, CarrierKind.SSM)


def check_clouds(tx: Transaction, call: Call) -> Iterator[Finding]:
    """Check that each cloud account answers, and that each import finds what it names. Nothing without any."""
    known = [each for cloud in CLOUDS for each in ecs.accounts_of(tx, call.account_id, cloud)]
    if not known:
        return
    failing = [each for each in known if each.problem_code]
    if failing:
        found = "; ".join(f"{each.name}: {each.problem_code}: {each.problem}" for each in failing[:MOST_NAMED])
        cloud = failing[0].cloud.value
        advice = f"see `backfleet {cloud}-account list`, and docs/{cloud}.md for each code"
        yield Finding("CloudAccounts", Severity.ERROR, found, advice, [each.name for each in failing[:MOST_NAMED]])
    else:
        yield Finding.ok("CloudAccounts", f"{named_some([each.name for each in known])} answered")
    unfit = [
        (cloud.value, each)
        for cloud in CLOUDS
        for each in ecs.imports_of(tx, call.account_id, cloud)
        if each.problem_code
    ][:MOST_NAMED]
    if unfit:
        found = "; ".join(f"{each.import_id}: {each.problem_code}: {each.problem}" for _, each in unfit)
        advice = f"see `backfleet {unfit[0][0]}-import list`; delete an import that is not wanted any more"
        yield Finding("CloudImports", Severity.WARNING, found, advice, [each.import_id for _, each in unfit])
