"""Members of a rollout, by what people call their hosts."""

from collections.abc import Sequence

from backfleet.cli._choosing import CLIENT_PREFIX, Named, Wanted
from backfleet.cli._client import Client
from backfleet.cli._options import fail
from backfleet.cli._targets import chosen_clients


def members_named(api: Client, rollout_id: str, names: Sequence[str]) -> list[str]:
    """Return the clients of a rollout's package that these names and ids mean.

    The ids of clients are taken as they are. A name that means no client of the package ends the command.
    """
    if all(name.startswith(CLIENT_PREFIX) for name in names):
        return list(names)
    package = api.call("backfleet", "DescribeRollout", RolloutId=rollout_id)["Package"]
    ids = []
    for name in dict.fromkeys(names):
        found = chosen_clients(api, Wanted((Named(name),)))
        members = [each.client_id for each in found if each.fields["package"] == package]
        if not members:
            fail(f"{name} has no {package}, which {rollout_id} moves; nothing was done")
        ids += members
    return ids
