"""Keep the files behind the releases: artifacts by their hash, and the signing keys."""

from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from backfleet.releases.stored import Stored
from backfleet_host.files import make_folder, read_or_create

ROLES: Final = ("root", "targets", "snapshot", "timestamp")


class Repository:
    """The artifacts folder and a signer for each role. Its text shows no key.

    Where artifacts are in an object store, `stored` fetches them into the folder, which has a limit then.
    """

    def __init__(self, artifacts: Path, signers: dict[str, CryptoSigner], stored: Stored | None = None) -> None:
        self._artifacts, self._signers, self.stored = artifacts, signers, stored

    @classmethod
    def open(cls, data: Path, stored: Stored | None = None) -> "Repository":
        """Open the repository of a data folder. Folders and keys are made the first time and never change.

        Args:
            data: The data folder.
            stored: The artifacts in an object store; None = all of them are in the folder.

        Raises:
            OSError: they can be neither read nor made.
            ValueError: a key file holds no key that this program made.
        """
        keys, artifacts = data / "keys", data / "artifacts"
        for folder in (keys, artifacts):
            make_folder(folder)
        return cls(artifacts, {role: _signer(keys / f"release-{role}.key") for role in ROLES}, stored)

    def path_of(self, sha256: str) -> Path:
        """Return where the artifact with this hash is, or would be."""
        return self._artifacts / sha256

    def artifact(self, sha256: str) -> Path | None:
        """Return the artifact with this hash; None if there is none, or if it is no hash."""
        if not self.is_hash(sha256):
            return None
        path = self.path_of(sha256)
        return path if path.is_file() else None

    @staticmethod
    def is_hash(sha256: str) -> bool:
        """Return whether a text can be the name of an artifact."""
        return len(sha256) == 64 and set(sha256) <= set("0123456789abcdef")

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
