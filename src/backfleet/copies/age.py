"""The file format of age, version 1: streams that are encrypted to public keys or with a passphrase.

The primitives are those of `cryptography`; this is the format around them, so that `age -d` opens what we write. The
Python binding of age takes a passphrase only for what fits into memory, and a copy holds artifacts of gigabytes.
Source: https://c2sp.org/age (file key, header, scrypt, X25519, payload).
"""

import base64
import binascii
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from typing import IO, Final

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from backfleet.copies import bech32
from backfleet.copies.streaming import TAG, Decrypting, Encrypting, NotWhole
from backfleet.values import value_object

INTRODUCTION: Final = b"age-encryption.org/v1"
KEY_BYTES: Final = 16
NONCE_BYTES: Final = 16
ZEROS: Final = bytes(12)  # the nonce of a key that seals one thing only
WORK: Final = 18  # log2 of scrypt's cost, as age has it: about a second and 256 MiB
MOST_WORK: Final = 20  # a file that asks for more would take minutes and gigabytes
LONGEST_HEADER: Final = 64 * 1024  # bytes
COLUMNS: Final = 64  # characters of one line of a stanza's body

RECIPIENT, IDENTITY = "age", "age-secret-key-"


class CannotOpen(ValueError):
    """A file cannot be decrypted; the text says why, and shows no secret."""


@value_object
class Lock:
    """How to encrypt: with a passphrase, or to the holders of any of these keys (`age1...`)."""

    passphrase: str = field(default="", repr=False)
    recipients: Sequence[bytes] = ()
    work: int = WORK

    @classmethod
    def to(cls, recipients: Sequence[str]) -> "Lock":
        """Return the lock for public keys as age writes them.

        Raises:
            ValueError: one of them is none; the text names it.
        """
        return cls(recipients=[_key_in(text, RECIPIENT) for text in recipients])


@value_object
class Opener:
    """How to decrypt: with a passphrase, or with any of these private keys (`AGE-SECRET-KEY-1...`)."""

    passphrase: str = field(default="", repr=False)
    identities: Sequence[bytes] = field(default=(), repr=False)

    @classmethod
    def of(cls, identity_file: str) -> "Opener":
        """Return the opener with the keys in the text of an identity file.

        Raises:
            ValueError: a line of it is no key, or there is none. The text does not show the line.
        """
        lines = [line.strip() for line in identity_file.splitlines()]
        keys = [line for line in lines if line and not line.startswith("#")]
        try:
            found = [_key_in(key, IDENTITY) for key in keys]
        except ValueError:
            raise ValueError("it holds a line that is no key of the kind AGE-SECRET-KEY-1...") from None
        if not found:
            raise ValueError("it holds no key")
        return cls(identities=found)


@value_object
class _Stanza:
    """One way to the file's key."""

    words: tuple[str, ...]
    body: bytes

    def to_bytes(self) -> bytes:
        text = _encoded(self.body)
        lines = [text[at : at + COLUMNS] for at in range(0, len(text) + 1, COLUMNS)]  # the last one is short, or empty
        return "".join(f"{line}\n" for line in (f"-> {' '.join(self.words)}", *lines)).encode()


def is_encrypted(start: bytes) -> bool:
    """Return whether a file that begins like this is one of age."""
    return start.startswith(INTRODUCTION)


def encrypting(lock: Lock, target: IO[bytes], random: Callable[[int], bytes] = os.urandom) -> Encrypting:
    """Write the header, and return what encrypts the rest. Close it: its end is part of what is encrypted."""
    key = random(KEY_BYTES)
    if lock.passphrase:
        stanzas = [_for_passphrase(lock, key, random(16))]
    else:
        stanzas = [_for_key(recipient, key, random(32)) for recipient in lock.recipients]
    if not stanzas:
        raise ValueError("neither a passphrase nor a key to encrypt to")
    header = INTRODUCTION + b"\n" + b"".join(stanza.to_bytes() for stanza in stanzas) + b"---"
    target.write(header + f" {_encoded(_authenticated(key, header).finalize())}\n".encode())
    nonce = random(NONCE_BYTES)
    target.write(nonce)
    return Encrypting(target, _derived(key, nonce, b"payload"))


def decrypting(opener: Opener, source: IO[bytes]) -> Decrypting:
    """Read the header, and return what decrypts the rest.

    Raises:
        CannotOpen: another passphrase or key opens it, or it is damaged.
    """
    header, stanzas, mac = _read_header(source)
    key = next(_keys(opener, stanzas), None)
    if key is None:
        raise CannotOpen(_refusal(opener, stanzas))
    try:
        _authenticated(key, header).verify(mac)
    except InvalidSignature:
        raise CannotOpen("its header was changed") from None
    nonce = source.read(NONCE_BYTES)
    if len(nonce) != NONCE_BYTES:
        raise NotWhole
    return Decrypting(source, _derived(key, nonce, b"payload"))


def _refusal(opener: Opener, stanzas: Sequence[_Stanza]) -> str:
    has_passphrase = any(stanza.words[0] == "scrypt" for stanza in stanzas)
    if opener.passphrase:
        return "the passphrase is wrong" if has_passphrase else "it is encrypted to a key, not with a passphrase"
    return "it is encrypted with a passphrase, not to a key" if has_passphrase else "none of the keys opens it"


def _read_header(source: IO[bytes]) -> tuple[bytes, list[_Stanza], bytes]:
    """Return the header as it is authenticated, its stanzas, and its authentication code."""
    lines = [_line(source)]
    if lines[0] != INTRODUCTION:
        raise CannotOpen("it is not a file of age")
    stanzas: list[_Stanza] = []
    while (line := _line(source)).startswith(b"-> "):
        lines.append(line)
        words, body = tuple(line[3:].decode("ascii", "replace").split(" ")), b""
        while True:
            piece = _line(source)
            lines.append(piece)
            body += piece
            if len(piece) < COLUMNS:
                break
        stanzas.append(_Stanza(words, _decoded(body)))
        if sum(map(len, lines)) > LONGEST_HEADER:
            raise CannotOpen("its header is too long")
    if not line.startswith(b"--- "):
        raise CannotOpen("its header is damaged")
    return b"\n".join([*lines, b"---"]), stanzas, _decoded(line[4:])


def _line(source: IO[bytes]) -> bytes:
    found = source.readline(LONGEST_HEADER)
    if not found.endswith(b"\n"):
        raise NotWhole
    return found[:-1]


def _keys(opener: Opener, stanzas: Sequence[_Stanza]) -> Iterator[bytes]:
    """Yield the file's key for each stanza that can be opened."""
    for stanza in stanzas:
        try:
            if stanza.words[0] == "scrypt" and opener.passphrase and len(stanzas) == 1:
                salt, work = _decoded(stanza.words[1].encode()), int(stanza.words[2])
                if len(salt) != 16 or not 0 < work <= MOST_WORK:
                    raise CannotOpen("its passphrase would take too long to check")
                yield _opened(_of_passphrase(opener.passphrase, salt, work), stanza.body)
            elif stanza.words[0] == "X25519":
                share = _decoded(stanza.words[1].encode())
                for identity in opener.identities:
                    yield from _opened_by(identity, share, stanza.body)
        except (InvalidTag, IndexError):
            continue
        except ValueError as problem:
            if isinstance(problem, CannotOpen):
                raise
            raise CannotOpen("its header is damaged") from None


def _opened_by(identity: bytes, share: bytes, body: bytes) -> Iterator[bytes]:
    key = X25519PrivateKey.from_private_bytes(identity)
    shared = key.exchange(X25519PublicKey.from_public_bytes(share))
    try:
        yield _opened(_of_share(shared, share, key.public_key().public_bytes_raw()), body)
    except InvalidTag:
        return


def _for_passphrase(lock: Lock, key: bytes, salt: bytes) -> _Stanza:
    wrapping = _of_passphrase(lock.passphrase, salt, lock.work)
    return _Stanza(("scrypt", _encoded(salt), str(lock.work)), ChaCha20Poly1305(wrapping).encrypt(ZEROS, key, None))


def _for_key(recipient: bytes, key: bytes, secret: bytes) -> _Stanza:
    ephemeral = X25519PrivateKey.from_private_bytes(secret)
    share = ephemeral.public_key().public_bytes_raw()
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(recipient))
    wrapping = _of_share(shared, share, recipient)
    return _Stanza(("X25519", _encoded(share)), ChaCha20Poly1305(wrapping).encrypt(ZEROS, key, None))


def _opened(wrapping: bytes, body: bytes) -> bytes:
    if len(body) != KEY_BYTES + TAG:
        raise CannotOpen("its header is damaged")
    return ChaCha20Poly1305(wrapping).decrypt(ZEROS, body, None)


def _of_passphrase(passphrase: str, salt: bytes, work: int) -> bytes:
    salted = INTRODUCTION + b"/scrypt" + salt
    return Scrypt(salt=salted, length=32, n=1 << work, r=8, p=1).derive(passphrase.encode())


def _of_share(shared: bytes, share: bytes, recipient: bytes) -> bytes:
    return _derived(shared, share + recipient, INTRODUCTION + b"/X25519")


def _derived(key: bytes, salt: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, purpose).derive(key)


def _authenticated(key: bytes, header: bytes) -> HMAC:
    found = HMAC(_derived(key, b"", b"header"), SHA256())
    found.update(header)
    return found


def _key_in(text: str, kind: str) -> bytes:
    try:
        found = bech32.decode(text.strip(), kind)
    except ValueError as problem:
        raise ValueError(f"{text[:80]!r} is no key of age: {problem}") from None
    if len(found) != 32:
        raise ValueError(f"{text[:80]!r} is no key of age: it is too short or too long")
    return found


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise CannotOpen("its header is damaged") from None
