"""Made-up hosts: how each of them behaves follows from a seed and its name."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Final

from backfleet.rollouts.model import FirstRun, OrderEnd
from backfleet.rollouts.policy.sections import percentage
from backfleet.rollouts.simulation.engine import Host
from backfleet.values import value_object

BAD_CANARY: Final = "bad-canary"
PAST_FAILURES: Final = "last-30-days"
_KINDS: Final = 64  # hosts that behave in the same way are one value: there may be a million of them
_UPGRADE_SECONDS: Final = (40, 400)
_FIRST_RUN_HOURS: Final = (1, 24)


class FailuresRefused(Exception):
    """It is not known what failures are meant."""


@value_object
class Failures:
    """Which hosts a release fails on: a share of them, or, where the release itself is bad, every one.

    Of the hosts that it fails on, a part (`rolls_back`, from 0 to 1; half where the release is bad) roll back by
    themselves; on the others it is healthy by its health command, and the first real backup fails.
    """

    share: float = 0.0
    is_bad: bool = False
    rolls_back: float = 0.5


def read_failures(text: str) -> Failures:
    """Read `2%` or `bad-canary`; "" is no failures.

    Raises:
        FailuresRefused: it is neither; also for `last-30-days`, which only a server knows.
    """
    if not text:
        return Failures()
    if text == BAD_CANARY:
        return Failures(is_bad=True)
    if text == PAST_FAILURES:
        raise FailuresRefused(f"only a server knows how often hosts failed; leave out the inventory for {text!r}")
    share = percentage(re.sub(r"\s", "", text))
    if share is None:
        raise FailuresRefused(f'found {text!r}; give a percentage such as "2%", "{BAD_CANARY}" or "{PAST_FAILURES}"')
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
        fails = failures.is_bad or int.from_bytes(drawn[4:]) < limit
        # Its lowest bit comes first: an odd number rolls back where half of the hosts do.
        rolls_back = (drawn[1] % 2 * 128 + drawn[1] // 2) >= 256 * (1 - failures.rolls_back)
        hosts = (rolled_back if rolls_back else broken) if fails else good
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
