"""Keep the files behind the releases: artifacts by their hash, and the signing keys."""

from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from backfleet_host.files import make_folder, read_or_create

ROLES: Final = ("root", "targets", "snapshot", "timestamp")


class Repository:
    """The artifacts folder and a signer for each role. Its text shows no key."""

    def __init__(self, artifacts: Path, signers: dict[str, CryptoSigner]) -> None:
        self._artifacts, self._signers = artifacts, signers

    @classmethod
    def open(cls, data: Path) -> "Repository":
        """Open the repository of a data folder. Folders and keys are made the first time and never change.

        Raises:
            OSError: they can be neither read nor made.
            ValueError: a key file holds no key that this program made.
        """
        keys, artifacts = data / "keys", data / "artifacts"
        for folder in (keys, artifacts):
            make_folder(folder)
        return cls(artifacts, {role: _signer(keys / f"release-{role}.key") for role in ROLES})

    def path_of(self, sha256: str) -> Path:
        """Return where the artifact with this hash is, or would be."""
        return self._artifacts / sha256

    def artifact(self, sha256: str) -> Path | None:
        """Return the artifact with this hash; None if there is none, or if it is no hash."""
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            return None
        path = self.path_of(sha256)
        return path if path.is_file() else None

    def signer(self, role: str) -> CryptoSigner:
        """Return the signer of a role."""
        return self._signers[role]

    def __repr__(self) -> str:
        return f"Repository({self._artifacts})"


def _signer(file: Path) -> CryptoSigner:
    key = serialization.load_pem_private_key(read_or_create(file, _new_key), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{file} is not the key this program made; put back the file that was there before")
    return CryptoSigner(key)


def _new_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
