"""The vault: secrets in the database are sealed with a key that is not in the database."""

import base64
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from backfleet_host.files import make_folder, read_or_create


class CannotOpen(ValueError):
    """The key file is damaged, or it does not belong to this database, or what was sealed has been changed."""


class Vault:
    """Seals and opens secrets (AES-128-CBC with HMAC-SHA256). `repr` shows nothing of the key."""

    def __init__(self, key: bytes) -> None:
        self._fernet = Fernet(key)
        self._key = key
        self._boxes: dict[str, Vault] = {}

    @classmethod
    def open(cls, data: Path) -> "Vault":
        """Return the vault of a data folder. The first call creates its key file, `keys/secrets.key`, with mode 0600.

        Raises:
            CannotOpen: the file does not hold a key.
            OSError: the file can be neither read nor created.
        """
        file = data / "keys" / "secrets.key"
        make_folder(file.parent)
        key = read_or_create(file, Fernet.generate_key)
        try:
            return cls(key)
        except ValueError:
            raise CannotOpen(
                f"{file} does not hold a key. Restore the file that was made with this database."
            ) from None

    def box(self, purpose: str) -> "Vault":
        """Return a vault with a key derived from this one's. What it seals can be opened for the same purpose only."""
        found = self._boxes.get(purpose)
        if found is None:
            derived = HKDF(SHA256(), 32, None, f"backfleet {purpose}".encode()).derive(self._key)
            found = self._boxes[purpose] = Vault(base64.urlsafe_b64encode(derived))
        return found

    def secret(self, purpose: str) -> bytes:
        """Return 32 bytes that are the same for every server with this key file, and tell nothing of other purposes."""
        return HKDF(SHA256(), 32, None, f"backfleet secret {purpose}".encode()).derive(self._key)

    def seal(self, text: str) -> str:
        """Return a text encrypted and authenticated. That takes about 100 characters and 4/3 of the text's length."""
        return self.seal_bytes(text.encode())

    def unseal(self, sealed: str) -> str:
        """Return the text that was sealed.

        Raises:
            CannotOpen: it was sealed with another key, or changed since.
        """
        try:
            return self._opened(sealed).decode()
        except (InvalidToken, ValueError):
            raise CannotOpen(
                "keys/secrets.key does not open a stored secret. Restore the file that was made with this database."
            ) from None

    def seal_bytes(self, data: bytes) -> str:
        """Return bytes encrypted and authenticated, as text that fits into URLs."""
        return self._fernet.encrypt(data).decode()

    def unseal_bytes(self, sealed: str) -> bytes:
        """Return the bytes that were sealed.

        Raises:
            CannotOpen: they were sealed with another key, were changed since, or were never sealed.
        """
        try:
            return self._opened(sealed)
        except (InvalidToken, ValueError):  # a lone surrogate cannot even be encoded
            raise CannotOpen("it was not sealed with this key") from None

    def _opened(self, sealed: str) -> bytes:
        """Decrypt, after refusing other base64 spellings of the same bytes, which the decryption would accept."""
        encoded = sealed.encode()
        if base64.urlsafe_b64encode(base64.urlsafe_b64decode(encoded)) != encoded:
            raise InvalidToken
        return self._fernet.decrypt(encoded)

    def __repr__(self) -> str:
        return "Vault()"
