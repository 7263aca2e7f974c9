"""The checks before a ring: what a policy's file calls gates. Plain values."""

from typing import ClassVar

from backfleet.rollouts.policy.amounts import Amount
from backfleet.values import value_object


@value_object
class Soak:
    """A time that must pass after the ring before is finished."""

    hours: float
    watches: bool = False
    kind: ClassVar[str] = "soak"


@value_object
class BudgetCheck:
    """At most so many failures in all the rings before."""

    max_failed: Amount
    watches: bool = False
    kind: ClassVar[str] = "budget"


@value_object
class Backups:
    """Real backups under the new version must succeed.

    `first_run`: "each" member of the rings before, "any" of them, or "" where none is asked for.
    `failures_above_baseline`: how many failed runs above what the fleet had before the rollout are borne; None = any.
    """

    first_run: str = ""
    failures_above_baseline: int | None = None
    watches: bool = False
    kind: ClassVar[str] = "backups"


@value_object
class Approval:
    """So many persons must agree; neither the policy's author nor the rollout's starter counts."""

    people: int
    watches: bool = False
    kind: ClassVar[str] = "approval"


@value_object
class Prometheus:
    """A query whose one value must be below or above a bound; no answer is "no". `url` "": the server's setting."""

    url: str
    query: str
    below: float | None = None
    above: float | None = None
    watches: bool = False
    kind: ClassVar[str] = "prometheus"


@value_object
class Webhook:
    """An address that must answer 200 with `{"proceed": true}`."""

    url: str
    watches: bool = False
    kind: ClassVar[str] = "webhook"


@value_object
class Manual:
    """A person resumes the rollout."""

    watches: bool = False
    kind: ClassVar[str] = "manual"


Check = Soak | BudgetCheck | Backups | Approval | Prometheus | Webhook | Manual
