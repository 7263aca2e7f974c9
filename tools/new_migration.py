"""Write a migration from the newest schema in the files to the one in the code: `new_migration.py NAME`."""

import subprocess
import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.config import Config

import backfleet.app  # noqa: F401 - every module registers its tables
from backfleet.storage import migrate, open_database
from backfleet.storage._migrate import MIGRATIONS

with tempfile.TemporaryDirectory() as folder:
    database = open_database(f"sqlite:///{folder}/schema.db")
    numbers = [int(path.name[:4]) for path in (MIGRATIONS / "versions").glob("[0-9]*.py")]
    migrate(database, f"{max(numbers):04d}")  # by its number: as "head" it is refused where the code has more
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.engine.connect() as connection:
        config.attributes["connection"] = connection
        number = f"{max(numbers) + 1:04d}"
        command.revision(config, message=sys.argv[1], autogenerate=True, rev_id=number)
    database.close()
written = max(Path(MIGRATIONS / "versions").glob("[0-9]*.py"))
text = written.read_text()
# Written on SQLite, which says 0 for false; PostgreSQL does not take that for a boolean.
written.write_text(text.replace("sa.text('0')", "sa.false()"))
subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", written], check=True)
print(written)
