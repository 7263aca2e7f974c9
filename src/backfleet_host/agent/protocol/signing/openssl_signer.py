"""RSA keys and signatures by the system's `openssl` command.

The key goes to it through a pipe: it is never an argument, which every user of the host can read, nor another file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import List, Sequence

from backfleet_host.agent.protocol.signing.key import (
    BITS,
    SigningKey,
    Unavailable,
    digest_info,
    private_pem,
    read_private_pem,
)

SIGN_SECONDS = 5.0
MAKE_SECONDS = 60.0  # a small machine without much entropy takes its time


def make_key(bits: int = BITS) -> SigningKey:
    """Return a fresh key.

    Raises:
        Unavailable: there is no `openssl`, or it failed.
    """
    made = _run(["genrsa", str(bits)], b"", MAKE_SECONDS)
    try:
        return read_private_pem(made)
    except ValueError as problem:
        raise Unavailable(f"openssl genrsa printed no key that can be read: {problem}") from None


class OpensslSigner:
    """Signs with one key.

    Raises:
        Unavailable: there is no `openssl`.
    """

    def __init__(self, key: SigningKey) -> None:
        self._pem = private_pem(key)
        _program()

    def sign(self, message: bytes) -> bytes:
        """Return the signature.

        `pkeyutl` pads what it is given and signs it. It is given the DigestInfo and not the message, because hosts in
        FIPS mode have an `openssl` without MD5.

        Raises:
            Unavailable: `openssl` failed.
        """
        receiving, sending = os.pipe()
        try:
            with os.fdopen(sending, "wb") as pipe:
                pipe.write(self._pem)  # less than any pipe holds: nobody has to read yet
            words = ["pkeyutl", "-sign", "-inkey", f"/dev/fd/{receiving}", "-pkeyopt", "rsa_padding_mode:pkcs1"]
            return _run(words, digest_info(message), SIGN_SECONDS, inherited=(receiving,))
        finally:
            os.close(receiving)


def _run(words: List[str], given: bytes, seconds: float, inherited: Sequence[int] = ()) -> bytes:
    try:
        done = subprocess.run(
            [_program(), *words],
            input=given,
            capture_output=True,
            timeout=seconds,
            check=False,
            pass_fds=inherited,
        )
    except (OSError, subprocess.SubprocessError) as problem:
        raise Unavailable(f"openssl {words[0]}: {problem}") from None
    if done.returncode != 0:
        reason = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise Unavailable(f"openssl {words[0]} ended with {done.returncode}: {' '.join(reason)[:200]}")
    return done.stdout


def _program() -> str:
    found = shutil.which("openssl")
    if found is None:
        raise Unavailable("this host has no program openssl")
    return found
