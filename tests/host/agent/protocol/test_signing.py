"""Keys and signatures: three implementations, one result, and key files that every build of the agent reads."""

import base64
import dataclasses
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from hypothesis import given
from hypothesis import strategies as st

from backfleet_host.agent.protocol.request_signature import RequestSigner
from backfleet_host.agent.protocol.signing import (
    Signer,
    SigningKey,
    WrongSignature,
    cryptography_signer,
    der,
    make_key,
    openssl_signer,
    private_pem,
    public_pem,
    python_signer,
    read_private_pem,
)
from backfleet_host.agent.protocol.signing.cryptography_signer import CryptographySigner
from backfleet_host.agent.protocol.signing.key import Unavailable, check, padded_digest
from backfleet_host.agent.protocol.signing.openssl_signer import OpensslSigner
from backfleet_host.agent.protocol.signing.python_signer import PythonSigner, is_probable_prime
from backfleet_host.identity import Identity

SIGNERS = [CryptographySigner, OpensslSigner, PythonSigner]
MAKERS = [cryptography_signer.make_key, openssl_signer.make_key, python_signer.make_key]

# A key file and a signature that the build before these implementations wrote, by the package rsa 4.9.1.
OLD_FILE = b"""\
-----BEGIN RSA PRIVATE KEY-----
MIIEqQIBAAKCAQEAkWhiZk68g/PkI7lvd86nQ6wkiWMH6NS4Cs1X3i0KF25itkbe
W3KSerUJuQDu3sZdYPJ2A5rx/OaBafFFg2vFdYtMyYhT7sooiLVCnbzv8nn0Zr2n
S7A/hX+Rs6g0jy1XbJwPT1wsRLusx4kFcRIWWO2Ae3loOPQ84ys1yHkSmvVQEYeC
lGNoV/eE+bGwZEeYxYeDfhtK2rVi4FCd9hczO4Qu3yLwFFsbiidu5cbCHUvUC6To
mOCPsHBv36bXo03wZjWycXtEWCgNkUSFwMgxeWrcw6DXwPlVrrI1N0vPxwpT1kKu
heffVLHgWZGE+63juxIUEsEu0iXvtAnf/nKoZQIDAQABAoIBAHvWYc9uCUF8CnWe
bV+k4XFR/3/+lnLmD6QrhEUVKL4R5gIFU0SgzD2zR4eHUujqGgcCGB4z7RoNGnSm
5iPqOi5Ep+4PrCP3ihP8A7MhgV2KHesOZJeikEbbAbT3cWPrIsS+GI/nGVCkYZ9C
hB7rX5r3EvCV0nyHDVtBjYcoPkvsvEWuN5Oc94AaFMGsDRiDEF1g+jgQfU7c0hqi
r7PLYNqCVYlHkZWmxg+vl7Tcjqo1UZGDhbJbV3LtZJStas5m/HgSc4Z++tZd+d3C
p2j4we6w3OEN4KLFuMdxc8cxE7qW3IaWViay6NtrkS93BNCVw6TKnKH1tPUF69fA
xBpYmoECgYkAwYIfSFyS/M26y9ozSs2lYheW4srZ1RC31LmKxhjSlNQjOYsc94jB
ZTYFUztXMMzPdQbuvaX2GS6EckDXl2cuBLYEfcesdh0kwlB0CDt7xqurlKqrsnvK
mKRCQrtSe++XCnef51qqLjOSFsyViwpbDehWKjjB00c/LXM5yCHNF0V6j9qIccsg
YQJ5AMBdp5KQuxINt6d6bVY8x2B2UkdJ71HGZoLaS/eeZ9FDOUZ/pm/Ou37ICM2X
8F2z0LOL4xgV/e+e6V+VYKWhrVYhLfbGbnzJQOgpMm4ykOmH1fEVEF44f/aRnmzA
VuruDijODD/QjECzmDplPUT9Y/5mPuFwiDKWhQKBiEmUiQCi8uFd+SF6nvZarABY
p+8k4x+5c61XwAUDe09MOviuhR06yw8JM40qi0TrHBeLw0wpxyJcJdCsB05y1XTF
IYASZOmku02H+hcHR1GMBXpKS29a0vanvupRAFRQDkbUpeD7AKsAwRQaRuLP1T+8
kMcNPeZwuP03S0lmUO4AZVI97pQWgQECeA+MQkwNWKFn7G0j7wxmUzMPvSy35Bj2
8TgoTrWP3xJB3bI+BQTKb8safeOoISxhqT+p0cwTkve4H2KzXyFkBO+ONPnaJfn+
Bjn9gm73tVC6wub+bdk/tdAHCwf9L8lDPm+736+UupFMMsSdhCs8U8WvG+v6vXdh
RQKBiQCJS+7yFyTUbiKuU1XcpBUEabSyI8rmZiXv1zMsXQi9SNumEEH80QLIzQn3
K8ELEJD2dO0lyWK/0k1qeIkM4FCYJXvd4HSIEvC66BPrFJ65Kw6IJAMVVdeZ5G83
1W/vJP12GjkfWLoR8UKutPHiVJ3D8tDr+3BmWZYZ/j6XoCXfjcIOXPLBq8q3
-----END RSA PRIVATE KEY-----
"""
OLD_MESSAGE = b"mi-1" + b"m" * 32 + b"179542119164743017c7a"
OLD_SIGNATURE = """
Pi6MYx0z+Zqv314Dias2jabGdDDwq6F4eE1M8se+ExZrXHeBFTY77OTBjCbCK99KrJ5o7/h4TRUPoB7nRcyLP6uzgUs3X7/CYYJO
J/IPxvPocIjHfKf8PG0PUpcZ0lp3upUYvz18LuQ65HLDTJC+7hHJX06RWWqMVeZGFJDZ0rhvllWX9eWN6JjZryW76eKCNc7/U6+f
vNTgBp1Wn+xlS36H8S+gOKe85Eottv1LgVEwM3h60DcrHuv0QzTFM1T13jYC35j3MJzUum4q/rjvaG4OjQoR79uEbBofmbW2i/Kh
pjNFqe/q/R4xsGkNHzMWqs52Dr0z4tQQwDDVyb7f+Q==
""".replace("\n", "")

# The worked example of RFC 1321's MD5, padded as RFC 8017, section 9.2 says, to a length of 64 bytes.
PADDED_ABC = f"0001{'ff' * 27}003020300c06082a864886f70d020505000410900150983cd24fb0d6963f7d28e17f72"


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return read_private_pem(OLD_FILE)


def verify(pem: bytes, signature: str, message: bytes) -> None:
    """Verify as the server does."""
    public = load_pem_public_key(pem)
    assert isinstance(public, RSAPublicKey)
    public.verify(base64.b64decode(signature), message, padding.PKCS1v15(), hashes.MD5())  # noqa: S303


# --- Signatures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signer", SIGNERS)
def test_every_implementation_signs_as_the_build_before_it(key: SigningKey, signer: type) -> None:
    """The scheme is deterministic: there is one right signature, of 344 characters."""
    assert Signer(key, [signer]).sign(OLD_MESSAGE) == OLD_SIGNATURE
    assert len(OLD_SIGNATURE) == 344


@pytest.mark.parametrize("message", [b"", b"abc", b"\0" * 100, "\N{SNOWMAN}".encode() * 1000])
def test_all_implementations_give_the_identical_signature(key: SigningKey, message: bytes) -> None:
    """And the server takes it."""
    signatures = {Signer(key, [signer]).sign(message) for signer in SIGNERS}
    assert len(signatures) == 1
    verify(public_pem(key), signatures.pop(), message)


@given(st.binary(max_size=200))
def test_python_signs_whatever_the_message(message: bytes) -> None:
    """Blinding draws another number for each; the result is the same as without."""
    key = read_private_pem(OLD_FILE)
    verify(public_pem(key), Signer(key, [PythonSigner]).sign(message), message)


def test_padding_is_that_of_the_standard() -> None:
    """0, 1, bytes of ff, 0, then the DigestInfo with the digest."""
    assert padded_digest(b"abc", 64).to_bytes(64, "big").hex() == PADDED_ABC


def test_headers_are_signed_as_the_protocol_says(key: SigningKey) -> None:
    """instanceId + machineId + timestamp + requestId, with nothing between."""
    signer = RequestSigner(Identity("mi-1", "m" * 32, "host:1"), key)
    headers = signer.headers(1795421191647, "43017c7a")
    assert headers == {
        "x-acs-instance-id": "mi-1",
        "x-acs-timestamp": "1795421191647",
        "x-acs-request-id": "43017c7a",
        "x-acs-signature": OLD_SIGNATURE,
    }


# --- Wrong results --------------------------------------------------------------------------------------------------


def test_a_wrongly_computed_signature_never_leaves(key: SigningKey) -> None:
    """A signature that is right for one prime alone would betray the key (Boneh, DeMillo, Lipton)."""

    class WithFault(PythonSigner):
        def __init__(self, key: SigningKey) -> None:
            super().__init__(key)
            self._dp ^= 1

    with pytest.raises(WrongSignature):
        Signer(key, [WithFault]).sign(b"abc")


@pytest.mark.parametrize("signer", SIGNERS)
def test_a_changed_signature_does_not_verify(key: SigningKey, signer: type) -> None:
    """One bit of it, a byte more or less, or another message."""
    signature = base64.b64decode(Signer(key, [signer]).sign(b"abc"))
    check(key, b"abc", signature)
    for changed in (signature[:-1] + bytes([signature[-1] ^ 1]), signature + b"\0", b"\0" + signature, signature[1:]):
        with pytest.raises(WrongSignature):
            check(key, b"abc", changed)
    with pytest.raises(WrongSignature):
        check(key, b"abd", signature)


# --- Falling back ---------------------------------------------------------------------------------------------------


class Broken:
    """An implementation that stops working after it was chosen."""

    tries = 0

    def __init__(self, key: SigningKey) -> None:
        pass

    def sign(self, message: bytes) -> bytes:
        type(self).tries += 1
        raise Unavailable("MD5 is not allowed here")


def test_an_implementation_that_fails_is_left_for_the_next(key: SigningKey) -> None:
    """And is not tried with every request."""
    signer = Signer(key, [Broken, PythonSigner])
    assert [signer.sign(OLD_MESSAGE) for _ in range(2)] == [OLD_SIGNATURE] * 2
    assert Broken.tries == 1


def test_a_host_without_openssl_signs_all_the_same(key: SigningKey, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing on PATH: the command's implementation says so when it is chosen."""
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(Unavailable, match="no program openssl"):
        OpensslSigner(key)
    assert Signer(key, [OpensslSigner, PythonSigner]).sign(OLD_MESSAGE) == OLD_SIGNATURE


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("echo FIPS mode >&2; exit 1", id="refuses"),
        pytest.param("exit 0", id="prints nothing"),
        pytest.param("cat /dev/urandom | head -c 256", id="prints what is no signature"),
    ],
)
def test_an_openssl_that_does_not_work_never_yields_a_signature(
    key: SigningKey, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left, or what it printed is caught; and it makes no key."""
    program = tmp_path / "openssl"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises((Unavailable, WrongSignature)):
        Signer(key, [OpensslSigner]).sign(b"abc")
    with pytest.raises(Unavailable):
        openssl_signer.make_key()


def test_a_host_without_cryptography_signs_by_openssl(tmp_path: Path) -> None:
    """As the agent does that was packed into one file: without site packages."""
    (tmp_path / "key.pem").write_bytes(OLD_FILE)
    source = Path(__file__).parents[4] / "src"
    text = (
        f"import sys; sys.path.insert(0, {str(source)!r})\n"
        "from pathlib import Path; from backfleet_host.agent.protocol.signing import *\n"
        "signer = Signer(read_private_pem(Path(sys.argv[1]).read_bytes()))\n"
        "print([type(each).__name__ for each in signer._left]); print(signer.sign(sys.argv[2].encode()))"
    )
    words = ["python3", "-I", "-S", "-c", text, str(tmp_path / "key.pem"), OLD_MESSAGE.decode()]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == ["['OpensslSigner', 'PythonSigner']", OLD_SIGNATURE]


def test_the_key_is_no_argument_of_openssl(key: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every user of the host can read arguments. What the program is given is written down, and holds no key."""
    real = subprocess.run(["which", "openssl"], capture_output=True, text=True, check=True).stdout.strip()
    program = tmp_path / "openssl"
    program.write_text(f'#!/bin/sh\nprintf "%s " "$@" >{tmp_path}/given; env >>{tmp_path}/given; exec {real} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert Signer(key, [OpensslSigner]).sign(OLD_MESSAGE) == OLD_SIGNATURE
    given = (tmp_path / "given").read_text()
    assert given.startswith("pkeyutl -sign -inkey /dev/fd/")
    assert not any(line in given for line in OLD_FILE.decode().splitlines())


# --- Keys -----------------------------------------------------------------------------------------------------------


def test_a_key_file_of_the_build_before_is_read_and_written_alike(key: SigningKey) -> None:
    """Byte for byte: that build reads the key again if the agent is put back to it."""
    assert private_pem(key) == OLD_FILE


@pytest.mark.parametrize("maker", MAKERS)
def test_a_key_of_any_implementation_is_read_by_all(maker: Callable[[], SigningKey]) -> None:
    """2,048 bits, the usual exponent, the same signature by each; and other programs read both halves."""
    made = maker()
    assert (made.n.bit_length(), made.e) == (2048, 65537)
    assert read_private_pem(private_pem(made)) == made
    assert len({Signer(made, [signer]).sign(b"abc") for signer in SIGNERS}) == 1
    private = load_pem_private_key(private_pem(made), None)
    assert private.public_key() == load_pem_public_key(public_pem(made))
    words = ["openssl", "rsa", "-check", "-noout"]
    done = subprocess.run(words, input=private_pem(made), capture_output=True, check=True, timeout=60)
    assert b"RSA key ok" in done.stdout


def test_the_form_of_newer_openssl_is_read_too(key: SigningKey) -> None:
    """`openssl genrsa` writes PKCS#8 since 3.0, and PKCS#1 before."""
    words = ["openssl", "pkcs8", "-topk8", "-nocrypt"]
    done = subprocess.run(words, input=OLD_FILE, capture_output=True, check=True, timeout=60)
    assert done.stdout.startswith(b"-----BEGIN PRIVATE KEY")
    assert read_private_pem(done.stdout) == key


def test_small_keys_of_python_come_out_right_too() -> None:
    """Many of them: whatever the primes, the numbers belong together."""
    for _ in range(20):
        small = python_signer.make_key(512)
        assert small.n.bit_length() == 512
        assert read_private_pem(private_pem(small)) == small
        verify(public_pem(small), Signer(small, [PythonSigner]).sign(b"message"), b"message")


def test_composite_numbers_that_resemble_primes_are_recognised() -> None:
    """Among them the least numbers that pass for single bases, and Carmichael numbers."""
    sieved = [number for number in range(5, 2000, 2) if all(number % below for below in range(3, number, 2))]
    assert [number for number in range(5, 2000, 2) if is_probable_prime(number)] == sieved
    for composite in (2047, 1_373_653, 25_326_001, 3_215_031_751, 561, 1105, 1729, 2465, 6601, 8911, 2**67 - 1):
        assert not is_probable_prime(composite)
    for prime in (2**31 - 1, 2**61 - 1, 2**127 - 1, 2**521 - 1):
        assert is_probable_prime(prime)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", id="no key"),
        pytest.param(b"-----BEGIN RSA PRIVATE KEY-----\nA\n-----END RSA PRIVATE KEY-----\n", id="no base64"),
        pytest.param(OLD_FILE[:-200], id="cut off"),
        pytest.param(OLD_FILE.replace(b"\n", b"", 3), id="another label"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(public_pem(read_private_pem(OLD_FILE)), id="the public half"),
    ],
)
def test_what_is_no_key(content: bytes) -> None:
    """A ValueError, whatever is wrong."""
    with pytest.raises(ValueError, match=r"the key|the file"):
        read_private_pem(content)


@pytest.mark.parametrize("name", ["n", "e", "d", "p", "q"])
def test_a_key_whose_numbers_do_not_belong_together_is_refused(key: SigningKey, name: str) -> None:
    """A damaged file is found when it is read, and not by a signature that the server refuses."""
    damaged = dataclasses.replace(key, **{name: getattr(key, name) ^ 2})
    numbers = (0, damaged.n, damaged.e, damaged.d, damaged.p, damaged.q)
    rest = (key.d % (key.p - 1), key.d % (key.q - 1), pow(key.q, -1, key.p))
    text = base64.encodebytes(der.integers(*numbers, *rest))
    with pytest.raises(ValueError, match="damaged"):
        read_private_pem(b"-----BEGIN RSA PRIVATE KEY-----\n" + text + b"-----END RSA PRIVATE KEY-----\n")


@given(st.binary(max_size=60))
def test_any_bytes_are_der_or_an_error(data: bytes) -> None:
    """What is read is written again as the same bytes."""
    try:
        tag, content, rest = der.read_element(data)
    except ValueError:
        return
    assert der.element(tag, content) + rest == data


def test_the_first_implementation_that_works_makes_the_key() -> None:
    """Whichever it is, the result is a key; nothing prints its numbers."""
    made = make_key()
    assert repr(made) == "SigningKey(2048 bits)"
    assert str(made.d) not in repr(Signer(made))
