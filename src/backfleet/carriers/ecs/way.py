"""How orders for instances of a cloud are written."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from backfleet.carriers.bootstrap import Bootstrap
from backfleet.carriers.ecs import _store
from backfleet.storage import Transaction


@dataclass(frozen=True, slots=True)
class Ecs:
    """The way through a cloud. Its agents know only that cloud, so the command names this server."""

    bootstrap: Bootstrap

    def bootstraps(self, tx: Transaction, instance_ids: Sequence[str]) -> dict[str, Bootstrap]:
        """Return the bootstrap of each of these hosts. See `Way.bootstraps`."""
        known = _store.addresses(tx, instance_ids)
        ours = replace(self.bootstrap, follows_agent=False)
        return {each: replace(ours, address=known.get(each) or ours.address) for each in instance_ids}
