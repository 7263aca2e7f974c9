"""Temporary credentials of roles, kept while they last."""

import hashlib
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from backfleet.carriers.ecs.model import EcsAccount

SESSION: Final = "backfleet"  # what the cloud shows of who took a role on
SESSION_SECONDS: Final = 3600
EARLY: Final = timedelta(minutes=5)  # before a session ends, there is a new one
MOST_KEPT: Final = 200

Made = tuple[dict[str, str], datetime]


class Sessions:
    """What roles were taken on, by cloud account. Another key or role of the account is another session."""

    def __init__(self) -> None:
        """Begin with none."""
        self._known: dict[str, Made] = {}
        self._lock = threading.Lock()

    def of(self, account: EcsAccount, now: datetime, make: Callable[[], Made]) -> dict[str, str]:
        """Return the credentials of an account's role; `make` takes it on when the last ones end soon."""
        parts = (account.account_id, account.name, account.key_id, account.sealed, account.source, account.source_name,
                 account.role_arn, account.external_id, account.sts_endpoint)  # fmt: skip
        name = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        with self._lock:
            known = self._known.get(name)
        if known and known[1] - EARLY > now:
            return known[0]
        made = make()
        with self._lock:
            while len(self._known) >= MOST_KEPT:
                self._known.pop(next(iter(self._known)))
            self._known[name] = made
        return made[0]
