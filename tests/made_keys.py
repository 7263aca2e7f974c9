"""Data folders with keys, made once in a process: making them anew waits for the disk a dozen times."""

import functools
import shutil
import tempfile
from pathlib import Path

from backfleet.identity import Vault
from backfleet.releases import Repository


def open_keys(data: Path) -> tuple[Vault, Repository]:
    """Return vault and repository of a data folder; one without keys gets those of this process."""
    if not (data / "keys").exists():
        keys = data / "keys"
        keys.mkdir(mode=0o700, parents=True)
        for name, content in _contents().items():
            (keys / name).write_bytes(content)
            (keys / name).chmod(0o600)
    return Vault.open(data), Repository.open(data)


@functools.cache
def _contents() -> dict[str, bytes]:
    folder = Path(tempfile.mkdtemp(prefix="backfleet-keys-"))
    try:
        Vault.open(folder)
        Repository.open(folder)
        return {path.name: path.read_bytes() for path in (folder / "keys").iterdir()}
    finally:
        shutil.rmtree(folder)
