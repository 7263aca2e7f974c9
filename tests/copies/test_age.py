"""The format of age, judged by its own implementation, which pyrage binds."""

import io

import pyrage
import pytest

from backfleet.copies.age import CannotOpen, Lock, Opener, decrypting, encrypting
from backfleet.copies.streaming import PIECE, NotWhole

SIZES = (0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE)
CHEAP = 8  # log2 of scrypt's cost


def encrypted(content: bytes, lock: Lock) -> bytes:
    target = io.BytesIO()
    stream = encrypting(lock, target)
    for at in range(0, len(content), 10_007):
        stream.write(content[at : at + 10_007])
    stream.close()
    return target.getvalue()


def decrypted(content: bytes, opener: Opener) -> bytes:
    stream, found = decrypting(opener, io.BytesIO(content)), b""
    while piece := stream.read(9_973):
        found += piece
    return found


@pytest.mark.parametrize("size", SIZES)
def test_age_opens_what_we_write(size: int) -> None:
    """With a passphrase, and with either of two keys."""
    content = bytes(number % 251 for number in range(size))
    assert pyrage.passphrase.decrypt(encrypted(content, Lock("a passphrase", work=CHEAP)), "a passphrase") == content
    keys = [pyrage.x25519.Identity.generate() for _ in range(2)]
    ours = encrypted(content, Lock.to([str(key.to_public()) for key in keys]))
    assert [pyrage.decrypt(ours, [key]) for key in keys] == [content, content]


@pytest.mark.parametrize("size", SIZES)
def test_we_open_what_age_writes(size: int) -> None:
    """To keys; and with a passphrase once, since age chooses how long that takes."""
    content = bytes(number % 251 for number in range(size))
    key, other = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    theirs = pyrage.encrypt(content, [other.to_public(), key.to_public()])
    assert decrypted(theirs, Opener.of(f"# a comment\n{key}\n")) == content


def test_we_open_what_age_encrypts_with_a_passphrase() -> None:
    theirs = pyrage.passphrase.encrypt(b"content", "ein Passwort mit ä")
    assert decrypted(theirs, Opener("ein Passwort mit ä")) == b"content"


def test_the_wrong_passphrase_or_key_is_named() -> None:
    """And what was used instead of what is needed."""
    key = pyrage.x25519.Identity.generate()
    mine = Opener.of(str(key))
    by_passphrase, to_key = encrypted(b"x", Lock("right", work=CHEAP)), encrypted(b"x", Lock.to([str(key.to_public())]))
    for content, opener, reason in (
        (by_passphrase, Opener("wrong"), "the passphrase is wrong"),
        (by_passphrase, mine, "with a passphrase, not to a key"),
        (to_key, Opener("right"), "to a key, not with a passphrase"),
        (to_key, Opener.of(str(pyrage.x25519.Identity.generate())), "none of the keys opens it"),
        (b"something else\n", mine, "not a file of age"),
    ):
        with pytest.raises(CannotOpen, match=reason):
            decrypted(content, opener)


def test_a_file_that_is_not_whole_is_refused() -> None:
    """Wherever it was cut, between two pieces as well, and where a bit was changed."""
    key = pyrage.x25519.Identity.generate()
    whole = encrypted(bytes(2 * PIECE + 5), Lock.to([str(key.to_public())]))
    opener, body = Opener.of(str(key)), len(whole) - 2 * (PIECE + 16) - 21
    for end in (10, 60, body - 1, body, body + 20, body + PIECE + 16, body + 2 * (PIECE + 16), len(whole) - 1):
        with pytest.raises(ValueError, match=r"not whole|damaged|not a file"):
            decrypted(whole[:end], opener)
    with pytest.raises(NotWhole):
        decrypted(whole + b"more", opener)
    for at in (body + 3, len(whole) - 30):
        with pytest.raises(NotWhole):
            decrypted(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], opener)
    with pytest.raises(CannotOpen):
        decrypted(whole.replace(b"X25519", b"Y25519", 1), opener)


def test_a_passphrase_that_would_take_for_ever_is_refused() -> None:
    """Before memory is taken for it: a file from anywhere must not stop the machine."""
    content = encrypted(b"x", Lock("right", work=CHEAP)).replace(b" 8\n", b" 40\n", 1)
    with pytest.raises(CannotOpen, match="too long"):
        decrypted(content, Opener("right"))


@pytest.mark.parametrize("text", ["", "age1", "age1qqqq", "AGE-SECRET-KEY-1XYZ", "age1" + "q" * 58, "ssh-ed25519 AAAA"])
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no key of age"):
        Lock.to([text])


def test_no_secret_is_shown() -> None:
    key = str(pyrage.x25519.Identity.generate())
    assert "right" not in repr(Lock("right"))
    assert key not in repr(Opener.of(key)) + repr(Opener("right"))
    with pytest.raises(ValueError, match="holds a line") as refused:
        Opener.of(key[:-1] + ("Q" if key[-1] != "Q" else "P"))
    assert key[:-1] not in str(refused.value)
