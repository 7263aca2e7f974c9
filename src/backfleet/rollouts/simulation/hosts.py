"""Made-up hosts: how each of them behaves follows from a seed and its name."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from backfleet.rollouts.model import FirstRun, OrderEnd
from backfleet.rollouts.policy.sections import percentage
from backfleet.rollouts.simulation.engine import Host

BAD_CANARY: Final = "bad-canary"
_KINDS: Final = 64  # hosts that behave in the same way are one value: there may be a million of them
_UPGRADE_SECONDS: Final = (40, 400)
_FIRST_RUN_HOURS: Final = (1, 24)


class FailuresRefused(Exception):
    """It is not known what failures are meant."""


@dataclass(frozen=True, slots=True)
class Failures:
    """Which hosts a release fails on: a share of them, or, where the release itself is bad, every one.

    On a bad release every second host rolls back by itself; on the others it is healthy by its health command, and the
    first real backup fails.
    """

    share: float = 0.0
    is_bad: bool = False


def read_failures(text: str) -> Failures:
    """Read `2%` or `bad-canary`; "" is no failures.

    Raises:
        FailuresRefused: it is neither.
    """
    if not text:
        return Failures()
    if text == BAD_CANARY:
        return Failures(is_bad=True)
    share = percentage(re.sub(r"\s", "", text))
    if share is None:
        raise FailuresRefused(f'found {text!r}; give a percentage such as "2%", or "{BAD_CANARY}"')
    return Failures(share / 100)


def made_up_hosts(client_ids: Iterable[str], failures: Failures, seed: int) -> Iterator[tuple[str, Host]]:
    """Yield each client with its host: the same for the same seed, whatever else is in the fleet."""
    good = [_host(kind, OrderEnd.SUCCEEDED, FirstRun.SUCCEEDED) for kind in range(_KINDS)]
    rolled_back = [_host(kind, OrderEnd.ROLLED_BACK, None) for kind in range(_KINDS)]
    broken = [_host(kind, OrderEnd.SUCCEEDED, FirstRun.FAILED) for kind in range(_KINDS)]
    prefix = f"{seed}\n".encode()
    limit = int(failures.share * 2**32)
    for client_id in client_ids:
        drawn = hashlib.blake2b(prefix + client_id.encode(), digest_size=8).digest()
        kind = drawn[0] % _KINDS
        if failures.is_bad:
            hosts = rolled_back if drawn[1] % 2 else broken
        else:
            fails = int.from_bytes(drawn[4:]) < limit
            hosts = (rolled_back if drawn[1] % 2 else broken) if fails else good
        yield client_id, hosts[kind]


def _host(kind: int, end: OrderEnd, first_run: FirstRun | None) -> Host:
    least, most = _UPGRADE_SECONDS
    early, late = _FIRST_RUN_HOURS
    return Host(
        upgrade=timedelta(seconds=least + (most - least) * kind // _KINDS),
        end=end,
        first_run=first_run,
        first_run_after=timedelta(hours=early + (late - early) * (kind * 37 % _KINDS) / _KINDS),
    )
