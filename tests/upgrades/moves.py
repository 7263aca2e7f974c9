"""Tasks over a world's clients, the server's loop by hand, and hosts that say what a test wants."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from backfleet import commands, fleet, upgrades
from backfleet.commands import Command, Ending
from backfleet.settings import Settings
from backfleet.upgrades import Item, Kind, Target, Task
from backfleet_host.contract import Report, stage_line
from operations.world import PLATFORM, World

LEASE = timedelta(seconds=90)


@dataclass
class Moves:
    """Clients at 1.0 on hosts of their own, to be moved to 2.0."""

    world: World
    count: int = 1
    now: datetime = field(init=False)
    hosts: list[tuple[str, str]] = field(init=False)  # instance and client

    def __post_init__(self) -> None:
        self.now = self.world.now
        self.hosts = [self.world.host_with_client() for _ in range(self.count)]

    @property
    def account(self) -> str:
        return self.world.root.account_id

    def targets(self) -> list[Target]:
        return [Target(instance, client, "courier", PLATFORM, "1.0", "2.0") for instance, client in self.hosts]

    def start(self, targets: Sequence[Target] | None = None, **said: Any) -> Task:
        with self.world.house.database.transaction() as tx:
            return upgrades.start(
                tx,
                kind=said.pop("kind", Kind.UPGRADE),
                account_id=self.account,
                targets=self.targets() if targets is None else targets,
                requested_by="root",
                now=self.now,
                draw=self.world.house.draw,
                settings=Settings(),
                **said,
            )

    def look(self) -> None:
        """The worker, until it has nothing more to do."""
        for _ in range(20):
            if not upgrades.look(self.world.house.database, now=self.now, draw=self.world.house.draw):
                return
        raise AssertionError("there is always more to do")

    def later(self, **time: float) -> None:
        """So much time passes."""
        self.now += timedelta(**time)

    def fetch(self, number: int = 0) -> list[Command]:
        """What a host is handed."""
        with self.world.house.database.transaction() as tx:
            return commands.claim(tx, self.hosts[number][0], now=self.now, lease=LEASE).run

    def stops(self, number: int = 0) -> list[Any]:
        """What a host is told to stop."""
        with self.world.house.database.transaction() as tx:
            return list(commands.claim(tx, self.hosts[number][0], now=self.now, lease=LEASE).stop)

    def begins(self, command: Command, number: int = 0, stage: str = "fetch") -> None:
        """A host says that it has begun a step."""
        line = stage_line(stage).encode() + b"\n"
        with self.world.house.database.transaction() as tx:
            commands.output(tx, self.hosts[number][0], command.task_id, line, started_ms=1, now=self.now, lease=LEASE)

    def tells(self, command: Command, report: Report | None, number: int = 0, kind: str = "finish") -> None:
        """A host's last word."""
        output = report.as_line().encode() if report else b"no report"
        with self.world.house.database.transaction() as tx:
            ending = Ending(kind, exit_code=0, output=output)
            commands.ended(tx, self.hosts[number][0], command.task_id, ending, now=self.now)

    def read(self, task: Task) -> Task:
        """The task, as it is now."""
        with self.world.house.database.reading() as tx:
            found = upgrades.read(tx, self.account, task.id, now=self.now)
        assert found is not None
        return found

    def item(self, task: Task, number: int = 0) -> Item:
        return self.read(task).items[number]

    def client(self, number: int = 0) -> fleet.Client:
        with self.world.house.database.reading() as tx:
            wanted = fleet.ClientFilter(client_ids(self.hosts[number]), None)
            found = fleet.find_clients(tx, self.account, self.world.house.settings.region, wanted, fleet.Page(1, 1))
        return found.items[0][0]


def client_ids(host: tuple[str, str]) -> list[str]:
    return [host[1]]


def well(item: Item, version: str = "2.0", **said: Any) -> Report:
    """The report of an order that succeeded."""
    return Report(item.id, "upgrade", "courier", "succeeded", from_version="1.0", to_version="2.0",
                  current_version=version, stage="commit", **said)  # fmt: skip


def unwell(item: Item, code: str = "RolledBack", version: str = "1.0", **said: Any) -> Report:
    """The report of one that failed."""
    return Report(item.id, "upgrade", "courier", "failed", code=code, from_version="1.0", to_version="2.0",
                  current_version=version, stage="back", **said)  # fmt: skip
