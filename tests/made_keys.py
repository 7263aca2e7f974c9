"""Data folders with keys, made once in a process: making or opening them waits for the disk several times."""

import functools
import shutil
import tempfile
from pathlib import Path

from securesystemslib.signer import CryptoSigner

from backfleet.identity import Vault
from backfleet.releases import Repository
from backfleet.releases.repository import ROLES


def open_keys(data: Path) -> tuple[Vault, Repository]:
    """Return vault and repository of a data folder; one without keys gets those of this process."""
    if (data / "keys").exists():
        return Vault.open(data), Repository.open(data)
    keys, artifacts = data / "keys", data / "artifacts"
    keys.mkdir(mode=0o700, parents=True)
    artifacts.mkdir(mode=0o700, exist_ok=True)
    contents, signers = _made()
    for name, content in contents.items():
        (keys / name).write_bytes(content)
        (keys / name).chmod(0o600)
    return Vault(contents["secrets.key"]), Repository(artifacts, dict(signers))


@functools.cache
def _made() -> tuple[dict[str, bytes], dict[str, CryptoSigner]]:
    """Return the content of each file of keys, and the signer of each role."""
    folder = Path(tempfile.mkdtemp(prefix="backfleet-keys-"))
    try:
        Vault.open(folder)
        repository = Repository.open(folder)
        contents = {path.name: path.read_bytes() for path in (folder / "keys").iterdir()}
        return contents, {role: repository.signer(role) for role in ROLES}
    finally:
        shutil.rmtree(folder)
