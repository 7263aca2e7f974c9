"""Pins: what keeps clients at a version, or within a range, for a reason and until a moment."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from backfleet.values import value_object
from backfleet_host.versions import Scheme

EXPIRES_SOON: Final = timedelta(days=7)  # a pin that ends within this time is shown as expiring


class PinKind(StrEnum):
    """What a pin is put on."""

    INSTANCE = "instance"  # its clients of the pin's package, or all of them
    TAG = "tag"  # the clients on instances with this tag, and those that have it themselves


@value_object
class Pin:
    """One pin. Account, region, kind, name, value and package identify it: there is one pin on one thing."""

    account_id: str
    region: str
    kind: PinKind
    name: str  # the id of the instance, or the key of the tag
    value: str  # of the tag; "" for an instance
    package: str  # "" = every package
    versions: str  # the range that its clients may move within; "" = they stay at the version that they have
    reason: str
    owner: str  # the ARN of who put it
    created_at: datetime
    expires_at: datetime

    def holds(self, now: datetime) -> bool:
        """Return whether it has not expired."""
        return now < self.expires_at

    def state(self, now: datetime) -> str:
        """Return the word for how far it is: Active, Expiring (it ends within EXPIRES_SOON) or Expired."""
        if not self.holds(now):
            return "Expired"
        return "Expiring" if self.expires_at - now <= EXPIRES_SOON else "Active"

    def concerns(self, instance_id: str, package: str, tags: Mapping[str, str]) -> bool:
        """Return whether it is put on the client of a package on an instance; the tags are those of both."""
        if self.package not in ("", package):
            return False
        return self.name == instance_id if self.kind is PinKind.INSTANCE else tags.get(self.name) == self.value

    @property
    def text(self) -> str:
        """What it says, for whoever is refused by it."""
        where = "" if self.kind is PinKind.INSTANCE else f" by the tag {self.name}={self.value}"
        to = f"to {self.versions}" if self.versions else "to the version that it has"
        return f"it is pinned {to}{where} until {self.expires_at:%Y-%m-%dT%H:%M:%SZ} by {self.owner}: {self.reason}"


@value_object
class Hold:
    """The pins that hold one client now: each of them must allow the version that it moves to."""

    pins: tuple[Pin, ...]

    @property
    def fixed(self) -> Pin | None:
        """The pin that lets the client move nowhere; None if each names versions."""
        return next((pin for pin in self.pins if not pin.versions), None)

    @property
    def versions(self) -> str:
        """The range that all those allow that name versions."""
        return ",".join(pin.versions for pin in self.pins if pin.versions)

    @property
    def longest(self) -> Pin:
        """The pin that ends last."""
        return max(self.pins, key=lambda pin: pin.expires_at)

    def refusing(self, scheme: Scheme, version: str, current: str) -> Pin | None:
        """Return the pin that forbids a move to a version; None if none does. To where it is, a client always may."""
        if version == current:
            return None
        return self.fixed or next((pin for pin in self.pins if not scheme.within(version, pin.versions)), None)
