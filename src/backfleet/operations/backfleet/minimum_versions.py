"""PutMinimumVersion and its siblings: no client of a package is to be below a version after a moment."""

from collections.abc import Iterable
from typing import Any, Final

from backfleet import fleet, releases
from backfleet.fleet import MinimumVersion
from backfleet.operations.backfleet.moments import moment_of
from backfleet.operations.backfleet.rollouts.creating import TRIES
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.operations.hbr.answers import seconds
from backfleet.operations.hbr.lifecycle import NAME
from backfleet.storage import Conflict, Transaction
from backfleet.values import value_object
from backfleet.wire.errors import ApiError, InvalidParameter, OperationConflict
from backfleet.wire.parameters import text
from backfleet_host.versions import scheme_of

LONGEST_REASON: Final = 200
MINIMUM: Final = {
    "PackageName": str,
    "MinimumVersion": str,
    "State": str,
    "Clients": int,
    "ClientsBelow": int,
    "Reason": str,
    "Owner": str,
    "CreatedTime": int,
    "DueTime": int,
}


class MinimumVersionNotFound(ApiError):
    """The package has no minimum version."""

    code = "MinimumVersionNotFound"
    status = 404

    def __init__(self) -> None:
        super().__init__("This package has no minimum version. `backfleet minimum list` lists those there are.")


class TooManyMinimumVersions(ApiError):
    """The account has as many minimum versions as it may."""

    code = "QuotaExceeded.MinimumVersion"
    status = 409

    def __init__(self) -> None:
        super().__init__(
            f"The account has {fleet.MOST_MINIMUMS} minimum versions, as many as it may. Delete those of packages that "
            "you no longer use."
        )


@value_object
class PutMinimumVersion:
    """A package, the lowest version that its clients may have from a moment on, and why.

    Due is a day or a moment (ISO 8601; UTC, unless it says otherwise); it may have passed.
    """

    package_name: str = text("PackageName", required=True, longest=64, pattern=NAME)
    version: str = text("MinimumVersion", required=True, longest=64)
    due: str = text("Due", required=True, longest=40)
    reason: str = text("Reason", required=True, longest=LONGEST_REASON)


@value_object
class DeleteMinimumVersion:
    """A package, and why it needs no minimum version any more: the audit trail keeps that."""

    package_name: str = text("PackageName", required=True, longest=64, pattern=NAME)
    reason: str | None = text("Reason", longest=LONGEST_REASON)


@value_object
class ListMinimumVersions:
    """All of them: there is one of a package."""


@operation(
    BACKFLEET,
    "PutMinimumVersion",
    action="backfleet:PutMinimumVersion",
    answer={**MINIMUM, "Replaced": bool},
    errors=(TooManyMinimumVersions, OperationConflict),
)
def put_minimum_version(call: Call, asked: PutMinimumVersion) -> dict[str, Any]:
    """Say below which version no client of a package is to be after a moment. The package's earlier one is replaced.

    Nothing is moved by it. It is shown, people are notified of clients that are below, and a rollout whose selector
    has `below_minimum = true` moves them.

    Raises:
        ApiError: TooManyMinimumVersions; InvalidParameter for a moment, a version or a package that cannot be.
    """
    due = moment_of("Due", asked.due)
    for _ in range(TRIES):
        try:
            with call.services.database.transaction() as tx:
                _check_version(tx, asked)
                new = MinimumVersion(
                    call.account_id, call.region, asked.package_name, asked.version, due, asked.reason,
                    call.caller.arn, call.now,
                )  # fmt: skip
                before = fleet.put_minimum(tx, new)
                answer = _answers(tx, call, [new])[0]
                _check_package(tx, asked.package_name, answer["Clients"])
                return {**answer, "Replaced": before is not None}
        except fleet.TooManyMinimums:
            raise TooManyMinimumVersions from None
        except Conflict:
            continue
    raise OperationConflict("Another call is storing the same minimum version. Send the request again.")


@operation(
    BACKFLEET,
    "DeleteMinimumVersion",
    action="backfleet:DeleteMinimumVersion",
    answer=MINIMUM,
    errors=(MinimumVersionNotFound,),
)
def delete_minimum_version(call: Call, asked: DeleteMinimumVersion) -> dict[str, Any]:
    """Ask for no minimum version of a package any more."""
    with call.services.database.transaction() as tx:
        found = fleet.delete_minimum(tx, call.account_id, call.region, asked.package_name)
        if found is None:
            raise MinimumVersionNotFound
        return _answers(tx, call, [found])[0]


@operation(
    BACKFLEET,
    "ListMinimumVersions",
    action="backfleet:ListMinimumVersions",
    answer={"MinimumVersions": [MINIMUM]},
)
def list_minimum_versions(call: Call, asked: ListMinimumVersions) -> dict[str, Any]:
    """List the minimum versions, those first that are due first, with how many clients are below each.

    State: Met (no client is below), Pending (some are, and it is not due yet), Overdue.
    """
    with call.services.database.reading() as tx:
        return {"MinimumVersions": _answers(tx, call, fleet.minimums_of(tx, call.account_id, call.region))}


def _check_version(tx: Transaction, asked: PutMinimumVersion) -> None:
    """Raises InvalidParameter: no version by the scheme of the package."""
    scheme = scheme_of(releases.schemes_of(tx, [asked.package_name])[asked.package_name])
    if scheme.order_of(asked.version) is None:
        raise InvalidParameter(
            f"MinimumVersion is {asked.version!r}; write one version, such as {scheme.example}, by the scheme "
            f"{scheme.name} of {asked.package_name}."
        )


def _check_package(tx: Transaction, package: str, clients: int) -> None:
    """Raises InvalidParameter: nothing has this name, which then is a mistake."""
    if not clients and not releases.find_all(tx, package):
        raise InvalidParameter(
            f"PackageName is {package!r}, and there is neither a client nor a release of it. Check the name: "
            "`backfleet release list` shows the packages there are."
        )


def _answers(tx: Transaction, call: Call, minimums: Iterable[MinimumVersion]) -> list[dict[str, Any]]:
    found = fleet.below_minimums(tx, call.account_id, call.region, list(minimums), releases.schemes_of)
    return [
        {
            "PackageName": each.package,
            "MinimumVersion": each.version,
            "State": _state(below, is_due=each.is_due(call.now)),
            "Clients": clients,
            "ClientsBelow": below,
            "Reason": each.reason,
            "Owner": each.owner,
            "CreatedTime": seconds(each.created_at),
            "DueTime": seconds(each.due_at),
        }
        for each, clients, below in found
    ]


def _state(below: int, *, is_due: bool) -> str:
    return "Met" if not below else "Overdue" if is_due else "Pending"
