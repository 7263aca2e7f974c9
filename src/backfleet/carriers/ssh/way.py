"""How orders for hosts without an agent are written."""

from collections.abc import Sequence
from dataclasses import replace

from backfleet.carriers.bootstrap import Bootstrap
from backfleet.carriers.ssh import _store
from backfleet.storage import Transaction
from backfleet.values import value_object


@value_object
class Ssh:
    """The way to hosts that the server logs in to. Each gets the bootstrap for its own root."""

    bootstrap: Bootstrap

    def bootstraps(self, tx: Transaction, instance_ids: Sequence[str]) -> dict[str, Bootstrap]:
        """Return the bootstrap of each of these hosts. See `Way.bootstraps`."""
        found = _store.hosts(tx, instance_ids)
        roots = {instance_id: host.root for instance_id, host in found.items()}
        return {each: replace(self.bootstrap, root=roots.get(each, self.bootstrap.root)) for each in instance_ids}
