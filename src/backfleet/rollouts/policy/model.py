"""A policy as its owner wrote it, checked: plain values that the strategy and the simulator read."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from backfleet.filter_expressions import Expression
from backfleet.rollouts.policy.amounts import Amount
from backfleet.rollouts.policy.checks import Check
from backfleet.values import value_object

WHERE_FIELDS: Final = frozenset({"client", "instance", "version", "platform", "channel"})
"""What an expression of a selector may name, besides tags."""


class Kind(StrEnum):
    """What a rollout does to each member."""

    UPGRADE = "upgrade"
    INSTALL = "install"
    PRECHECK = "precheck"  # changes nothing: tells what would be refused
    STAGE = "stage"  # downloads and verifies ahead
    SETTINGS = "settings"
    ROLL_BACK = "roll-back"
    AGENT = "agent"


class Then(StrEnum):
    """What happens once the budget is spent."""

    HOLD = "hold"
    ROLL_BACK_MEMBER = "roll-back-member"
    ROLL_BACK_RING = "roll-back-ring"
    ROLL_BACK_ROLLOUT = "roll-back-rollout"


class AtDeadline(StrEnum):
    """What happens with a host that is still busy at the deadline. A running backup is never killed."""

    SKIP = "skip"
    WAIT = "wait"


@value_object
class Selector:
    """Which clients are meant. An empty field selects everything; all fields must hold.

    `tags` maps a key to the values that are taken, () for any value. `where` is an expression over WHERE_FIELDS.
    """

    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    versions: str = ""  # a range
    platforms: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    where: Expression | None = None
    exclude: "Selector | None" = None
    below_minimum: bool = False  # only clients below the minimum version of the package
    dynamic: bool = False  # takes newcomers in while the rollout runs


@value_object
class Ring:
    """An ordered group of members: a count, a percentage, a selector, or (none of them) the rest."""

    name: str
    count: int | None = None
    percent: float | None = None
    select: Selector | None = None
    checks: tuple[Check, ...] = ()  # before the ring starts; those that watch, also while it runs
    max_failed: Amount | None = None  # a budget of its own

    @property
    def is_the_rest(self) -> bool:
        """Whether it takes what no other ring took."""
        return self.count is None and self.percent is None and self.select is None


@value_object
class Pace:
    """How many members move at one time."""

    in_flight: Amount = Amount(percent=10.0)
    ramp: bool = True  # 1, 2, 4, ... in each ring
    jitter_seconds: int = 0
    per_hour: Amount | None = None
    per_domain: Mapping[str, int] = field(default_factory=dict)  # tag key -> most members of one value at one time
    never_together: tuple[str, ...] = ()  # tag keys


@value_object
class Window:
    """When hosts may be changed. No times: always."""

    times: tuple[str, ...] = ()
    time_zone: str = "UTC"  # "host", "UTC" or a name
    default_time_zone: str = "UTC"  # where `time_zone` is "host": of hosts that report none
    calendars: tuple[str, ...] = ()  # of freezes


@value_object
class Busy:
    """What happens with hosts on which a backup runs."""

    drain_limit_minutes: int = 5
    at_deadline: AtDeadline = AtDeadline.SKIP
    grace_minutes: int = 0


@value_object
class Failure:
    """How many failures are borne, and what happens with one more."""

    max_failed: Amount = Amount()
    then: Then = Then.HOLD
    counts: frozenset[str] = frozenset()  # also "skipped", "refused"


@value_object
class Verification:
    """How long a member waits for its first real backup under the new version; 0 = it does not wait."""

    first_run_hours: float = 0.0
    without_run: str = "fail"  # or "accept": what becomes of a member that had none in this time


@value_object
class Notify:
    """Who is notified."""

    to: tuple[str, ...] = ()


@value_object
class Policy:
    """How a fleet is moved to one version."""

    name: str
    package: str
    deadline: datetime
    rings: tuple[Ring, ...]
    kind: Kind = Kind.UPGRADE
    version: str = ""  # or the newest of `channel`, decided when the rollout starts
    channel: str = ""
    select: Selector = Selector()
    pace: Pace = Pace()
    window: Window = Window()
    busy: Busy = Busy()
    failure: Failure = Failure()
    verification: Verification = Verification()
    notify: Notify = Notify()
    overlap: str = "refuse"  # or "wait": with another rollout of the same clients
    settings: Mapping[str, Any] = field(default_factory=dict)  # of kind `settings`: see `client_settings`
