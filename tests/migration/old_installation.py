"""Unpack what the commit before the restructuring left on its disks, so that the code of today can go on with it.

Three things are changed on the way, because they belong to the machine and the hour of the making: the folder's path
(shims and the files beside them hold absolute paths), the server's ports, and every moment in the database, moved
along by the time that has passed since: a task that was open for seconds is open for seconds again.
"""

import json
import re
import tarfile
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from journeys.installation import Host, Installation

HERE = Path(__file__).parent
MOMENT = re.compile(r"(?:\w+_)?at|until|lease_until|deadline|(?:started|ended|signed)_ms")


class OldInstallation:
    """The unpacked installation: `facts` is what the old code answered and where it stood."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        for name in ("server", "hosts"):
            with tarfile.open(HERE / f"{name}.tar.xz") as archive:
                archive.extractall(folder, filter="tar")
        self.facts: dict[str, Any] = json.loads((folder / "facts.json").read_text())
        self.moved_ms = (int(time.time() * 1000) - self.facts["made_at_ms"]) // 1000 * 1000
        self.installation = Installation(folder)
        self._rewrite(folder)
        for number in (1, 2):
            self.installation.hosts.append(Host(self.installation, folder / f"host-{number}"))

    @property
    def sqlite_url(self) -> str:
        """The database that was made."""
        return f"sqlite:///{self.installation.data / 'backfleet.db'}"

    @property
    def postgresql_dump(self) -> str:
        """The same rows for the other engine, without the lines that only psql reads."""
        lines = (self.installation.folder / "postgresql.sql").read_text().splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("\\"))

    def move_moments(self, database_url: str) -> None:
        """Add the time since the making to every moment in the database, which has the old schema."""
        engine = sa.create_engine(database_url)
        tables = sa.MetaData()
        tables.reflect(engine)
        with engine.begin() as connection:
            for table in tables.sorted_tables:
                moments = [c for c in table.c if isinstance(c.type, sa.BigInteger) and MOMENT.fullmatch(c.name)]
                if moments:
                    connection.execute(sa.update(table).values({c: c + self.moved_ms for c in moments}))
        engine.dispose()

    def _rewrite(self, folder: Path) -> None:
        old = [self.facts["folder"], *(f"127.0.0.1:{port}" for port in self.facts["ports"])]
        new = [str(folder), *(f"127.0.0.1:{port}" for port in self.installation.ports)]
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink() and path.name != "facts.json" and "db" not in path.suffix:
                content = before = path.read_bytes()
                for here, there in zip(old, new, strict=True):
                    content = content.replace(here.encode(), there.encode())
                if content != before:
                    mode = path.stat().st_mode
                    path.chmod(0o600)
                    path.write_bytes(content)
                    path.chmod(mode)
