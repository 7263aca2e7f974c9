"""Keys and signatures, against the protocol page's vector and against another library."""

import base64

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from backfleet_host.agent.protocol.request_signature import Proof
from backfleet_host.agent.protocol.signing_key import (
    WrongResult,
    make_key,
    private_pem,
    public_pem,
    read_private_pem,
    sign,
)
from backfleet_host.identity import Identity


@pytest.fixture(scope="module")
def key() -> object:
    return make_key()


def verify(pem: bytes, signature: str, message: bytes) -> None:
    public = load_pem_public_key(pem)
    assert isinstance(public, RSAPublicKey)
    public.verify(base64.b64decode(signature), message, padding.PKCS1v15(), hashes.MD5())  # noqa: S303


def test_a_key_is_what_it_must_be(key: object) -> None:
    """2048 bits, and another library reads both halves."""
    public = load_pem_public_key(public_pem(key))  # type: ignore[arg-type]
    private = load_pem_private_key(private_pem(key), None)  # type: ignore[arg-type]
    assert public == private.public_key()
    assert private.key_size == 2048  # type: ignore[union-attr]
    assert read_private_pem(private_pem(key)) == key  # type: ignore[arg-type]


def test_small_keys_come_out_right_too() -> None:
    """Many of them: whatever the primes, the pair fits."""
    for _ in range(20):
        small = make_key(512)
        assert small.n.bit_length() == 512
        verify(public_pem(small), sign(small, b"message"), b"message")


def test_a_signature_verifies_elsewhere(key: object) -> None:
    """As the server verifies it; 344 characters."""
    signature = sign(key, b"abc")  # type: ignore[arg-type]
    assert len(signature) == 344
    verify(public_pem(key), signature, b"abc")  # type: ignore[arg-type]


def test_headers_are_signed_as_the_page_says(key: object) -> None:
    """instanceId + machineId + timestamp + requestId, with nothing between."""
    proof = Proof(Identity("mi-1", "m" * 32, "host:1"), key)
    headers = proof.headers(1795421191647, "43017c7a")
    verify(public_pem(key), headers.pop("x-acs-signature"), b"mi-1" + b"m" * 32 + b"179542119164743017c7a")  # type: ignore[arg-type]
    assert headers == {
        "x-acs-instance-id": "mi-1",
        "x-acs-timestamp": "1795421191647",
        "x-acs-request-id": "43017c7a",
    }


def test_a_wrongly_computed_signature_never_leaves(key: object) -> None:
    """One wrong signature by way of the primes would betray the key."""
    broken = read_private_pem(private_pem(key))  # type: ignore[arg-type]
    broken.exp1 ^= 1
    with pytest.raises(WrongResult):
        sign(broken, b"abc")


@pytest.mark.parametrize("content", [b"", b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"])
def test_what_is_no_key(content: bytes) -> None:
    """A ValueError, whatever is wrong."""
    with pytest.raises(ValueError):  # noqa: PT011
        read_private_pem(content)
