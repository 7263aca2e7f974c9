"""A number of members, or a share of them."""

from backfleet.values import value_object


@value_object
class Amount:
    """A number, or a percentage of a whole that may change while the rollout runs."""

    number: int = 0
    percent: float | None = None

    def of(self, whole: int) -> int:
        """Return how many that are of `whole`, rounded down."""
        return self.number if self.percent is None else int(whole * self.percent / 100 + 1e-9)

    @property
    def is_none(self) -> bool:
        """Whether it is none of any whole."""
        return not (self.number if self.percent is None else self.percent)

    def at_least_one_of(self, whole: int) -> int:
        """Return the same, at least one: a pace of 5 % moves a fleet of three as well."""
        return max(1, self.of(whole))

    def __str__(self) -> str:
        return str(self.number) if self.percent is None else f"{self.percent:g} %"
