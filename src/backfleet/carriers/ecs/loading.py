"""The functions that need the cloud's SDK, which takes two seconds to load: they load it when they are called."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from random import SystemRandom
from typing import Final

from backfleet.carriers.ecs.model import NO_SDK, EcsAccount, EcsProblem, Selection, Trouble
from backfleet.carriers.ecs.round import CloudApi, Means, Opening
from backfleet.fleet import CarrierKind
from backfleet.ids import Draw
from backfleet.outbound import Destinations
from backfleet.storage import Database

CHECK_SECONDS: Final = 20.0  # of a caller's time; a page that was asked for before is waited for
SDK = "alibabacloud_ecs20140526"


def make_clouds(
    allowed: Destinations, open_secret: Callable[[str], str], may_use_own: Callable[[str], bool]
) -> Opening:
    """Return who makes clients of cloud accounts. See `Clouds`. Raises EcsProblem where the SDK is not installed."""
    try:
        from backfleet.carriers.ecs.credentials import Clouds
    except ImportError as problem:
        text = f"the cloud's SDK is not installed here ({problem.name} is missing): run `pip install {SDK}`"
        raise EcsProblem(NO_SDK, text, Trouble.ACCOUNT) from None
    return Clouds(allowed, open_secret, may_use_own)


class Clouds:
    """Makes clients of cloud accounts, each by what its cloud has for that."""

    def __init__(self, makers: Mapping[CarrierKind, Callable[[], Opening]]) -> None:
        """Load no SDK yet.

        Args:
            makers: for each cloud what loads its SDK. They raise EcsProblem where it is not installed.
        """
        self._clouds = {kind: _Late(make) for kind, make in makers.items()}

    def open(
        self, account: EcsAccount, region: str, now: datetime, before_call: Callable[[], None] = lambda: None
    ) -> CloudApi:
        """Return a client of one region. Raises EcsProblem."""
        return self._clouds[account.cloud].open(account, region, now, before_call)


def make_means(
    database: Database,
    clock: Callable[[], datetime],
    clouds: Opening,
    draw: Draw,
    *,
    region: str,
    every: timedelta,
    lease: timedelta,
) -> Means:
    """Return what every round needs. See `Means`."""
    random = SystemRandom()
    return Means(database, clock, clouds, draw, region, every, lease, lambda: random.uniform(1.0, 1.3))


class _Late:
    """Loads a cloud's SDK at the first use, and again where it was missing: a problem of the cloud account."""

    def __init__(self, make: Callable[[], Opening]) -> None:
        self._make = make
        self._made: Opening | None = None

    def open(
        self, account: EcsAccount, region: str, now: datetime, before_call: Callable[[], None] = lambda: None
    ) -> CloudApi:
        """Return a client of one region. Raises EcsProblem."""
        if self._made is None:
            self._made = self._make()
        return self._made.open(account, region, now, before_call)


def check(
    clouds: Opening,
    account: EcsAccount,
    selection: Selection,
    now: datetime,
    passed: Callable[[], float] = time.monotonic,
) -> int:
    """Ask the cloud now for a selection; return how many instances it has, or how many it named in the time there is.

    Args:
        clouds: makes clients.
        account: the cloud account.
        selection: which instances.
        now: the time.
        passed: seconds since any fixed moment.

    Raises:
        EcsProblem: the cloud refuses it, or was not reached.
    """
    until, found = passed() + CHECK_SECONDS, set[str]()
    for page in clouds.open(account, selection.region, now).listing(selection):
        found.update(one.remote_id for one in page)
        if passed() >= until:
            break
    return len(found)
