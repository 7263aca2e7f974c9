"""The fleet at a glance."""

from collections.abc import Sequence
from datetime import datetime

from backfleet.fleet.model.instances import host_version_of
from backfleet.values import value_object


@value_object
class FleetGroup:
    """Clients that are alike in everything that an overview shows."""

    site: str  # the value of a tag of their instances; "" for none
    package: str
    version: str
    platform: str
    channel: str
    status: str
    silent: bool
    drifted: bool
    number: int


@value_object
class FleetRow:
    """A client as a search shows it."""

    client_id: str
    instance_id: str
    name: str
    hostname: str
    platform: str
    agent_version: str
    package: str
    version: str
    channel: str
    status: str
    drift: str
    site: str
    silent: bool
    last_heard_at: datetime | None

    @property
    def host_version(self) -> str:
        """The version of the host program; "" where another agent runs."""
        return host_version_of(self.agent_version)


@value_object
class FleetSearch:
    """What clients must have; None for anything."""

    site_tag: str  # the key of the tag that names sites
    text: str = ""  # a part of an id, a name, a version or a tag's value, in any case
    package: str | None = None
    version: str | None = None
    site: str | None = None
    statuses: tuple[str, ...] | None = None
    versions: Sequence[tuple[str, str, str, str]] | None = None  # package, platform, channel, version
    silent: bool = False
    drifted: bool = False
    host_version: str | None = None  # of the host program

    def holds_for(self, group: FleetGroup) -> bool:
        """Return whether the clients of a group are what is asked for, whatever the text and the host program."""
        version = (group.package, group.platform, group.channel, group.version)
        return (
            self.package in (None, group.package)
            and self.version in (None, group.version)
            and self.site in (None, group.site)
            and (self.statuses is None or group.status in self.statuses)
            and (self.versions is None or version in self.versions)
            and (group.silent or not self.silent)
            and (group.drifted or not self.drifted)
        )
