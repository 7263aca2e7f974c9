"""Secrets kept in the database, sealed with a key that is not in it."""

import base64
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from backfleet_host.files import make_folder, read_or_create


class CannotOpen(ValueError):
    """The key file is damaged, or it and the database do not belong together."""


class Vault:
    """Seals and opens (AES-128-CBC with HMAC-SHA256). Prints nothing of its key."""

    def __init__(self, key: bytes) -> None:
        self._fernet = Fernet(key)
        self._key = key
        self._boxes: dict[str, Vault] = {}

    @classmethod
    def open(cls, data: Path) -> "Vault":
        """The vault of this data folder. Its key file, `keys/secrets.key`, is made the first time, mode 0600.

        Raises:
            CannotOpen: the file is there and is not a key.
            OSError: it cannot be read or made.
        """
        file = data / "keys" / "secrets.key"
        make_folder(file.parent)
        key = read_or_create(file, Fernet.generate_key)
        try:
            return cls(key)
        except ValueError:
            raise CannotOpen(f"{file} is not a key; put the file back that was made with this database") from None

    def box(self, purpose: str) -> "Vault":
        """A vault with a key derived from this one's: what was sealed for one purpose opens for no other."""
        found = self._boxes.get(purpose)
        if found is None:
            derived = HKDF(SHA256(), 32, None, f"backfleet {purpose}".encode()).derive(self._key)
            found = self._boxes[purpose] = Vault(base64.urlsafe_b64encode(derived))
        return found

    def seal(self, text: str) -> str:
        """The text, encrypted and authenticated: about 100 characters, and 4/3 of the text's length."""
        return self.seal_bytes(text.encode())

    def unseal(self, sealed: str) -> str:
        """The text again.

        Raises:
            CannotOpen: sealed with another key, or changed since.
        """
        try:
            return self._opened(sealed).decode()
        except (InvalidToken, ValueError):
            raise CannotOpen("keys/secrets.key does not open what the database holds") from None

    def seal_bytes(self, data: bytes) -> str:
        """The bytes, encrypted and authenticated, as text that fits into URLs."""
        return self._fernet.encrypt(data).decode()

    def unseal_bytes(self, sealed: str) -> bytes:
        """The bytes again.

        Raises:
            CannotOpen: sealed with another key, or changed since, or not sealed at all.
        """
        try:
            return self._opened(sealed)
        except (InvalidToken, ValueError):  # a lone surrogate cannot even be encoded
            raise CannotOpen("it was not sealed with this key") from None

    def _opened(self, sealed: str) -> bytes:
        """Base64 is read leniently by what opens it; here one text, and no other, stands for what was sealed."""
        spelled = sealed.encode()
        if base64.urlsafe_b64encode(base64.urlsafe_b64decode(spelled)) != spelled:
            raise InvalidToken
        return self._fernet.decrypt(spelled)

    def __repr__(self) -> str:
        return "Vault()"
