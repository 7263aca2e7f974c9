"""What a copy says of itself, and what can go wrong with it."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from backfleet.values import value_object

FORMAT: Final = 1  # of the file; a program that does not know it refuses it
FACTS, END = "backup.json", "end.json"  # the first member and the last
ARTIFACTS: Final = "artifacts"
FOLDERS: Final = ("keys", "tls", ARTIFACTS)
FILES: Final = ("admin.json", "config.toml")
SECRET: Final = ("keys", "admin.json", "config.toml")  # for their owner alone; the others may be read by all
NAMES: Final = re.compile(
    r"(?:backup|end|admin)\.json|config\.toml|(?:keys|tls)/[A-Za-z0-9][A-Za-z0-9._-]{0,99}|artifacts/[0-9a-f]{64}"
    r"|database/[a-z][a-z0-9_]{0,62}/[0-9]{9}\.jsonl"
)
"""Every name that a member may have."""


class CannotCopy(Exception):
    """No copy can be made; the text says why and what to do. There is no part of one left."""


class CannotFetch(Exception):
    """An artifact cannot be had from where it is; the text says why. The copy is made without it.

    Args:
        text: Why.
        is_away: Whether others cannot be had either, so that nobody need be asked for them.
    """

    def __init__(self, text: str, *, is_away: bool = False) -> None:
        super().__init__(text)
        self.is_away = is_away


@value_object
class Artifacts:
    """Which artifacts a copy should have, and how those come that are not in the data folder."""

    wanted: Callable[[], Mapping[str, str]]
    """Returns what each is of, by its name; "" for one that may be missing. Called after the rows were copied."""
    fetch: Callable[[str, Path], None]
    """Writes one to a new file, verified. Raises CannotFetch: there is no such file then; OSError: no space for it."""


class CannotRestore(Exception):
    """A copy cannot be restored; the text says why and what to do. Nothing was changed."""


@value_object
class Facts:
    """What a copy says of itself."""

    format: int
    made_at: str  # ISO 8601, UTC
    version: str  # of the program that made it
    revision: str  # of its database
    engine: str

    @property
    def moment(self) -> datetime:
        """When it was made."""
        return datetime.fromisoformat(self.made_at).astimezone(UTC)

    def to_bytes(self) -> bytes:
        """Return the content of the first member."""
        return json.dumps(asdict(self)).encode()


def read_facts(content: bytes) -> Facts:
    """Return the facts in a copy's first member.

    Raises:
        CannotRestore: they cannot be read, or a newer program made the copy.
    """
    try:
        raw: Mapping[str, Any] = json.loads(content)
        form = int(raw["format"])
        found = Facts(form, *(str(raw[name]) for name in ("made_at", "version", "revision", "engine")))
        _ = found.moment
    except (ValueError, KeyError, TypeError):
        raise CannotRestore("it is no copy of an installation") from None
    if form > FORMAT:
        raise CannotRestore(f"version {found.version} made it, which is newer than this one: install that version")
    return found


@value_object
class LastCopy:
    """The last copy that was made of an installation."""

    made_at: datetime
    lacking: int | None = None  # artifacts that it should have had; None = it was to have none, or nobody counted
