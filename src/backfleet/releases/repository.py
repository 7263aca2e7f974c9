"""The files behind the releases: artifacts by their hash, and the signing keys. Prints without the keys."""

import os
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

ROLES: Final = ("root", "targets", "snapshot", "timestamp")


class Repository:
    """The artifacts folder and a signer for each role."""

    def __init__(self, artifacts: Path, signers: dict[str, CryptoSigner]) -> None:
        self._artifacts, self._signers = artifacts, signers

    @classmethod
    def open(cls, data: Path) -> "Repository":
        """The repository of a data folder; folder and keys are made the first time and never changed after."""
        keys, artifacts = data / "keys", data / "artifacts"
        for folder in (keys, artifacts):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(artifacts, {role: _signer(keys / f"release-{role}.key") for role in ROLES})

    def path_of(self, sha256: str) -> Path:
        """Where an artifact of this hash is, or would be."""
        return self._artifacts / sha256

    def artifact(self, sha256: str) -> Path | None:
        """The artifact of this hash, if we have it."""
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            return None
        path = self.path_of(sha256)
        return path if path.is_file() else None

    def signer(self, role: str) -> CryptoSigner:
        """Who signs for this role."""
        return self._signers[role]

    def __repr__(self) -> str:
        return f"Repository({self._artifacts})"


def _signer(file: Path) -> CryptoSigner:
    if not file.exists():
        _write_once(file)
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{file} is not the key this program made")
    return CryptoSigner(key)


def _write_once(file: Path) -> None:
    """Two processes that start together must end with one key: the first link wins."""
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
        opened.write(pem)
        opened.flush()
        os.fsync(opened.fileno())
    try:
        os.link(partial, file)
    except FileExistsError:
        pass
    finally:
        partial.unlink()
