"""The resources that a call names, as policies see them: each client under its own ARN and that of its instance.

`acs:hbr:<region>:<account>:client/<id>` and `acs:ecs:<region>:<account>:instance/<id>` are both names of a client; the
tags of its instance are its tags. An id that names nothing is judged by its own ARN, so that a refusal tells nobody
whether it exists. Source: docs/decisions/0033-who-may-touch-which-client.md.
"""

from collections.abc import Sequence
from typing import Any, Final

from backfleet import fleet
from backfleet.fleet import ResolvedNames
from backfleet.identity.policy import Target
from backfleet.operations.catalogue import Call
from backfleet.operations.hbr.identifiers import CROSS_ACCOUNT, INSTANCE_PREFIXES
from backfleet.storage import Transaction
from backfleet.values import value_object

MOST_RESOLVED: Final = 200  # ids that are looked up; a call that names more is refused for that
NOTHING: Final = ResolvedNames({}, {})


@value_object
class NamedInstances:
    """Instances that an installation names, and the account that they are in if it is another one."""

    instance_ids: tuple[str, ...]
    package_name: str | None = None  # None: the server chooses
    cross_account_type: str | None = None
    cross_account_user_id: int | None = None


def client_arn(call: Call, account_id: str, client_id: str) -> str:
    """Return a client of an account as a resource of a policy."""
    return f"acs:hbr:{call.region}:{account_id}:client/{client_id}"


def instance_arn(call: Call, account_id: str, instance_id: str) -> str:
    """Return an instance of an account as a resource of a policy."""
    return f"acs:ecs:{call.region}:{account_id}:instance/{instance_id}"


def call_targets(call: Call, asked: Any) -> list[Target]:
    """Return what a call touches, for the caller's own policies.

    Of another account nothing is read, as long as its role has not agreed: its clients have only the ARNs that the
    call itself names, and an Allow on the caller's own `*` covers them. Of what the root of an account names there
    nothing is read: it may do everything in its account.
    """
    other = _other_account(asked)
    if other is None and call.caller.is_root:
        return []
    if other is None:
        with call.services.database.reading() as tx:
            return named_targets(tx, call, call.account_id, asked)
    home = f"acs:hbr:{call.region}:{call.account_id}:*"
    there = [_arn(call, other, named) for named in _ids(asked)] or [client_arn(call, other, "*")]
    return [Target((home, arn)) for arn in there]


def named_targets(tx: Transaction, call: Call, account_id: str, asked: Any) -> list[Target]:
    """Return the clients that a call names in an account, each on its own and those of a named instance.

    A call that names none lists: it touches all of them.
    """
    ids = _ids(asked)
    if not ids:
        return [Target((client_arn(call, account_id, "*"), instance_arn(call, account_id, "*")))]
    found = _resolve(tx, call, account_id, ids)
    targets = []
    for named in ids:
        own = _arn(call, account_id, named)
        if named in found.clients:
            targets.append(Target((own, instance_arn(call, account_id, found.clients[named].instance_id))))
            continue
        on_it = found.clients_on.get(named, [])
        targets += [Target((own, client_arn(call, account_id, one.id))) for one in on_it] or [Target((own,))]
    return targets


def call_instances(call: Call, asked: Any) -> list[Target]:
    """Return what an installation touches, for the caller's own policies; of another account as `call_targets`."""
    if _other_account(asked) is not None or call.caller.is_root:
        return call_targets(call, asked)
    with call.services.database.reading() as tx:
        return named_instances(tx, call, call.account_id, asked)


def named_instances(tx: Transaction, call: Call, account_id: str, asked: Any) -> list[Target]:
    """Return the instances that an installation names. A Deny on a client counts if it may be the one to be installed.

    An Allow on a client does not: the package may be another one.
    """
    ids = _ids(asked)
    package = getattr(asked, "package_name", None)
    found = _resolve(tx, call, account_id, ids)
    return [
        Target(
            (_arn(call, account_id, named),),
            vetoes=tuple(
                client_arn(call, account_id, client.id)
                for client in found.clients_on.get(named, [])
                if package in (None, client.package)
            ),
        )
        for named in ids
    ]


def _other_account(asked: Any) -> str | None:
    if getattr(asked, "cross_account_type", None) != CROSS_ACCOUNT or asked.cross_account_user_id is None:
        return None
    return str(asked.cross_account_user_id)


def _ids(asked: Any) -> list[str]:
    """Return the ids that a call names, each once, whichever parameter they came in."""
    one = getattr(asked, "client_id", None)
    listed = (*(getattr(asked, "instance_ids", None) or ()), *(getattr(asked, "client_ids", None) or ()))
    return list(dict.fromkeys([*listed, *([one] if one else [])]))


def _resolve(tx: Transaction, call: Call, account_id: str, ids: Sequence[str]) -> ResolvedNames:
    if len(ids) > MOST_RESOLVED:
        return NOTHING
    instances = [named for named in ids if named.startswith(INSTANCE_PREFIXES)]
    clients = [named for named in ids if not named.startswith(INSTANCE_PREFIXES)]
    return fleet.resolve_names(tx, account_id, call.region, instances, clients)


def _arn(call: Call, account_id: str, named: str) -> str:
    """Return the ARN of an id; its prefix says what it names."""
    arn = instance_arn if named.startswith(INSTANCE_PREFIXES) else client_arn
    return arn(call, account_id, named)
