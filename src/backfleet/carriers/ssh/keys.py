"""Keys: those that the server logs in with, and those that hosts are known by."""

import re

import asyncssh

from backfleet.carriers.ssh.model import MOST_KEYS

COMMENT = "backfleet"


def make_private_key() -> str:
    """Return a new private key, in OpenSSH's form."""
    return asyncssh.generate_private_key("ssh-ed25519", comment=COMMENT).export_private_key().decode()


def public_of(private: str) -> tuple[str, str]:
    """Return the public half of a private key in OpenSSH's form, as one line, and its fingerprint.

    Raises:
        ValueError: it is no private key, or it has a passphrase.
    """
    try:
        key = asyncssh.import_private_key(private)
    except (asyncssh.KeyEncryptionError, asyncssh.KeyImportError) as problem:
        if re.search("passphrase|encrypt", str(problem), re.IGNORECASE):
            raise ValueError("the key has a passphrase, which nobody could type when a host is visited") from None
        raise ValueError("it is no private key in a form of OpenSSH, PEM or PKCS #8") from None
    return key.export_public_key().decode().strip(), fingerprint_of(key)


def fingerprint_of(key: asyncssh.SSHKey) -> str:
    """Return a key's fingerprint as ssh-keygen prints it: `SHA256:...`."""
    return str(key.get_fingerprint())


def read_host_keys(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Return host keys as they are stored: `ssh-ed25519 AAAA...`, without comments, each once.

    Raises:
        ValueError: there is none, there are too many, or a line is none.
    """
    if not 0 < len(lines) <= MOST_KEYS:
        raise ValueError(f"a host is known by 1 to {MOST_KEYS} host keys, not {len(lines)}")
    return tuple(dict.fromkeys(_line_of(_read(line)) for line in lines))


def described(line: str) -> str:
    """Return a stored host key as people compare it: `ssh-ed25519 SHA256:...`."""
    return describe(_read(line))


def describe(key: asyncssh.SSHKey) -> str:
    """Return a key as people compare it: `ssh-ed25519 SHA256:...`."""
    return f"{key.get_algorithm()} {fingerprint_of(key)}"


def line_of(key: asyncssh.SSHKey) -> str:
    """Return a key in the form in which it is stored."""
    return _line_of(key)


def _read(line: str) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_public_key(line)
    except asyncssh.KeyImportError:
        raise ValueError(f"{line[:40]!r} is no public key in OpenSSH's form (`ssh-ed25519 AAAA...`)") from None


def _line_of(key: asyncssh.SSHKey) -> str:
    kind, encoded, *_ = key.export_public_key().decode().split()
    return f"{kind} {encoded}"
