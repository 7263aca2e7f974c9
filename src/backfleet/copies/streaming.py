"""The body of a file of age: pieces that are sealed one by one, the last of them marked. Source: https://c2sp.org/age."""

from typing import IO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

PIECE: Final = 64 * 1024  # bytes of content in one piece
TAG: Final = 16  # bytes that sealing adds


class NotWhole(ValueError):
    """A file ends too early, or its content was changed."""

    def __init__(self) -> None:
        super().__init__("it is not whole: its end is missing, or its content was changed. Use another copy")


class Encrypting:
    """A file that is written to, whose content another file gets encrypted."""

    def __init__(self, target: IO[bytes], key: bytes) -> None:
        self._target, self._cipher = target, ChaCha20Poly1305(key)
        self._held, self._number = bytearray(), 0

    def write(self, data: bytes) -> int:
        """Encrypt these bytes, too. The last piece is kept until it is known whether it is the last."""
        self._held += data
        while len(self._held) > PIECE:
            self._seal(bytes(self._held[:PIECE]), is_last=False)
            del self._held[:PIECE]
        return len(data)

    def close(self) -> None:
        """Write the last piece. What is not closed cannot be decrypted to its end."""
        self._seal(bytes(self._held), is_last=True)

    def _seal(self, piece: bytes, *, is_last: bool) -> None:
        self._target.write(self._cipher.encrypt(_nonce(self._number, is_last=is_last), piece, None))
        self._number += 1


class Decrypting:
    """A file that is read from, with what another file holds encrypted.

    Raises:
        NotWhole: by `read`: the end of the other file is missing, or it was changed.
    """

    def __init__(self, source: IO[bytes], key: bytes) -> None:
        self._source, self._cipher = source, ChaCha20Poly1305(key)
        self._next = source.read(PIECE + TAG)
        self._held, self._number, self._is_over = bytearray(), 0, False

    def read(self, size: int) -> bytes:
        """Return the next bytes: as many as were asked for, or all that are left."""
        while len(self._held) < size and not self._is_over:
            self._open()
        found = bytes(self._held[:size])
        del self._held[:size]
        return found

    def _open(self) -> None:
        sealed, self._next = self._next, self._source.read(PIECE + TAG)
        self._is_over = not self._next
        try:
            piece = self._cipher.decrypt(_nonce(self._number, is_last=self._is_over), sealed, None)
        except InvalidTag:
            raise NotWhole from None
        if not piece and self._number:  # only the first piece may be empty
            raise NotWhole
        self._held += piece
        self._number += 1


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])
