"""The worker that asks clouds: when commands wait for their instances, while some run there, and now and then.

Each cloud account is one process's at a time, and has a thread while a round lasts. What a process that was killed had
is taken over by another one after HELD_FOR.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Final

from backfleet.carriers.ecs import _store
from backfleet.carriers.ecs.model import EcsAccount
from backfleet.carriers.ecs.round import HELD_FOR, Means
from backfleet.carriers.ecs.rounds import run_round
from backfleet.storage import Database

MOST_AT_ONCE: Final = 8  # cloud accounts that one process asks at once
MOST_OF_ONE: Final = 4  # of them of the same account: clouds of one that answer slowly leave a place to others

log = logging.getLogger(__name__)


class Worker:
    """The rounds of one process."""

    def __init__(self, database: Database, make: Callable[[], Means]) -> None:
        """Begin with none.

        Args:
            database: where cloud accounts are.
            make: makes what rounds need; called when there is a cloud account.
        """
        self.has_any = True  # whether there was a cloud account at the last look: the first one is published
        self._database, self._make = database, make
        self._means: Means | None = None
        self._under_way: set[tuple[str, str]] = set()
        self._pauses: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def run_once(self, now: datetime) -> bool:
        """Begin the rounds that are due, as many as there may be at once. Return False: the rest waits."""
        with self._database.reading() as tx:
            self.has_any = _store.exist(tx)
        if not self.has_any:
            return False
        with self._lock:
            free = MOST_AT_ONCE - len(self._under_way)
        if free <= 0:
            return False
        accounts = self._taken(now, free)
        if accounts and self._means is None:
            self._means = self._make()
        for account in accounts:
            self._begin(account)
        return False

    def _taken(self, now: datetime, free: int) -> list[EcsAccount]:
        """Return cloud accounts that are this process's now, at most MOST_OF_ONE of each account at once."""
        with self._lock:
            places = Counter(account_id for account_id, _ in self._under_way)
        found: list[EcsAccount] = []
        with self._database.transaction() as tx:
            for _ in range(free):
                full = [each for each, count in places.items() if count >= MOST_OF_ONE]
                taken = _store.take_accounts(tx, now, now + HELD_FOR, 1, full)
                if not taken:
                    break
                found += taken
                places[taken[0].account_id] += 1
        return found

    def _begin(self, account: EcsAccount) -> None:
        name = (account.account_id, account.name)
        with self._lock:
            if name in self._under_way or self._means is None:
                return  # its last round takes longer than it may
            self._under_way.add(name)
        threading.Thread(target=self._round, args=(self._means, account, name), name="ecs", daemon=True).start()

    def _round(self, means: Means, account: EcsAccount, name: tuple[str, str]) -> None:
        try:
            self._pauses[name] = run_round(means, account, self._pauses.get(name, 0.0))
        except Exception:
            log.exception("a round with a cloud account failed", extra={"ecs_account": account.name})
        finally:
            with self._lock:
                self._under_way.discard(name)
