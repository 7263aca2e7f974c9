"""ID tokens of identity providers: which are accepted, and which keys may verify them."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from backfleet.identity import Provider
from backfleet.identity.id_tokens import KEYS_PER_PROVIDER, BadKeys, BadToken, read_keys, verify_token
from identity.signed_tokens import AT, CLAIMS, ISSUER, NOW, base64url, ec_key, head_of, public, rsa_key, token


def provider(*keys: dict[str, Any], clients: tuple[str, ...] = ("backfleet", "other")) -> Provider:
    return Provider("5", "1", "hub", ISSUER, clients, json.dumps({"keys": keys}), "", NOW, NOW)


OURS = [pytest.param(lambda: rsa_key("ours"), id="RSA"), pytest.param(lambda: ec_key("ours"), id="EC")]


@pytest.mark.parametrize("key", OURS)
def test_a_token_of_the_provider_is_accepted(key: Callable[[], Any]) -> None:
    """Its subject, audience and times are returned."""
    found = verify_token(provider(public(key())), token(key()), NOW)
    assert (found.subject, found.issuer, found.audiences) == ("repo:fleet/deploy", ISSUER, ("backfleet",))
    assert (found.issued, found.expires) == (NOW - timedelta(minutes=1), NOW + timedelta(minutes=10))


def test_the_named_key_verifies_the_token() -> None:
    """A token without a key name may be signed with any key."""
    keys = provider(public(rsa_key("old"), "old"), public(ec_key("new"), "new"))
    assert verify_token(keys, token(ec_key("new"), kid="new"), NOW).subject
    assert verify_token(keys, token(rsa_key("old")), NOW).subject
    assert fault(keys, token(rsa_key("old"), kid="new")) == "Signature"
    assert fault(keys, token(rsa_key("old"), kid="none")) == "Signature"


def fault(of: Provider, text: str, at: datetime = NOW) -> str:
    with pytest.raises(BadToken) as refused:
        verify_token(of, text, at)
    assert not text or text not in str(refused.value)
    return refused.value.fault


CLAIMED = [
    pytest.param({"iss": "https://tokens.example.com/"}, "Issuer", id="almost the issuer"),
    pytest.param({"iss": None}, "Issuer", id="no issuer"),
    pytest.param({"aud": "else"}, "Audience", id="for somebody else"),
    pytest.param({"aud": ["else", "more"]}, "Audience", id="for two others"),
    pytest.param({"aud": ["backfleet", "else"], "azp": "else"}, "Audience", id="issued to somebody else"),
    pytest.param({"aud": []}, "Audience", id="for nobody"),
    pytest.param({"aud": None}, "Audience", id="no audience"),
    pytest.param({"aud": {"backfleet": 1}}, "Audience", id="an audience that is an object"),
    pytest.param({"sub": ""}, "Malformed", id="an empty subject"),
    pytest.param({"sub": 7}, "Malformed", id="a number for a subject"),
    pytest.param({"sub": "x" * 256}, "Malformed", id="an endless subject"),
    pytest.param({"exp": AT - 61}, "Expired", id="over"),
    pytest.param({"exp": None}, "Malformed", id="without an end"),
    pytest.param({"exp": "tomorrow"}, "Malformed", id="an end in words"),
    pytest.param({"exp": True}, "Malformed", id="an end that is true"),
    pytest.param({"exp": 1e300}, "Malformed", id="an end beyond time"),
    pytest.param({"iat": AT - 12 * 3600 - 1}, "Expired", id="issued long ago"),
    pytest.param({"iat": AT + 61}, "Expired", id="issued in the future"),
    pytest.param({"nbf": AT + 61}, "Expired", id="not yet"),
    pytest.param({"iat": None}, "Malformed", id="issued at no time"),
]


@pytest.mark.parametrize(("claims", "expected"), CLAIMED)
def test_a_token_with_wrong_claims_is_refused(claims: dict[str, Any], expected: str) -> None:
    """Although the provider signed it."""
    assert fault(provider(public(ec_key("ours"))), token(ec_key("ours"), {**CLAIMS, **claims})) == expected


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"aud": ["other", "backfleet"]}, id="two audiences, both the provider's"),
        pytest.param({"aud": ["else", "backfleet"]}, id="two audiences, one of them the provider's"),
        pytest.param({"aud": ["else", "backfleet"], "azp": "backfleet"}, id="two audiences, issued to the provider's"),
        pytest.param({"exp": AT - 59}, id="over, within the leeway of clocks"),
        pytest.param({"iat": AT + 59}, id="issued in the future, within the leeway"),
        pytest.param({"nbf": AT - 5}, id="not before a moment that has passed"),
        pytest.param({"iat": AT - 0.5}, id="issued at half a second"),
        pytest.param({"more": {"x": [1, None]}}, id="with claims nobody asked for"),
    ],
)
def test_unusual_claims_are_accepted(claims: dict[str, Any]) -> None:
    """One row for each."""
    assert verify_token(provider(public(ec_key("ours"))), token(ec_key("ours"), {**CLAIMS, **claims}), NOW).subject


def test_any_other_signature_is_refused() -> None:
    """Another key of either kind, none, the public key as a shared secret, or a signature of other claims."""
    ours = provider(public(rsa_key("ours")), public(ec_key("ours")))
    assert fault(ours, token(rsa_key("theirs"))) == "Signature"
    assert fault(ours, token(ec_key("theirs"))) == "Signature"
    head, body, signature = token(rsa_key("ours")).split(".")
    other = base64url(json.dumps({**CLAIMS, "sub": "root"}).encode())
    assert fault(ours, f"{head}.{other}.{signature}") == "Signature"
    assert fault(ours, f"{head}.{body}.") == "Signature"
    assert fault(ours, f"{head_of('none')}.{body}.") == "Signature"
    assert fault(ours, f"{base64url(b'{}')}.{body}.{signature}") == "Signature"
    assert fault(ours, token(rsa_key("ours"), alg="RS512")) == "Signature"
    assert fault(ours, token(rsa_key("ours"), alg="ES256")) == "Signature"
    pem = (
        rsa_key("ours")
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    shared = hmac.HMAC(pem, hashes.SHA256())
    shared_head = head_of("HS256")
    shared.update(f"{shared_head}.{body}".encode())
    assert fault(ours, f"{shared_head}.{body}.{base64url(shared.finalize())}") == "Signature"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("a.b", id="two parts"),
        pytest.param("....", id="five parts"),
        pytest.param("a.b.c", id="no JSON"),
        pytest.param(f"{base64url(b'[]')}.{base64url(b'{}')}.x", id="a header that is a list"),
        pytest.param("é.é.é", id="letters no token has"),
        pytest.param("\ud800.x.y", id="half a letter"),
        pytest.param("x" * 20_001, id="endless"),
    ],
)
def test_text_that_is_not_a_token_is_refused(text: str) -> None:
    """Before any key is tried."""
    assert fault(provider(public(ec_key("ours"))), text) == "Malformed"


@pytest.mark.parametrize("payload", [b"[]", b"1", b"{", b"\xff", b"[" * 5000])
def test_a_signed_payload_that_is_not_an_object_is_refused(payload: bytes) -> None:
    """As from a provider whose software is broken."""
    signed = f"{head_of('ES256')}.{base64url(payload)}"
    r, s = decode_dss_signature(ec_key("ours").sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    text = f"{signed}.{base64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
    assert fault(provider(public(ec_key("ours"))), text) == "Malformed"


@given(st.integers(min_value=0), st.sampled_from("AB_-.=\n é"))
def test_a_changed_token_is_refused(place: int, character: str) -> None:
    """Wherever it is changed; another spelling of the same signature is the same token."""
    genuine = token(ec_key("ours"))
    place %= len(genuine)
    changed = genuine[:place] + character + genuine[place + 1 :]
    try:
        found = verify_token(provider(public(ec_key("ours"))), changed, NOW)
    except BadToken:
        return
    assert changed.rpartition(".")[0] == genuine.rpartition(".")[0]
    assert found.subject == CLAIMS["sub"]


KEYS_REFUSED = [
    pytest.param("", id="nothing"),
    pytest.param("{", id="no JSON"),
    pytest.param("[]", id="a list"),
    pytest.param("{}", id="no keys"),
    pytest.param('{"keys": []}', id="an empty list of keys"),
    pytest.param('{"keys": [1]}', id="a number for a key"),
    pytest.param('{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', id="a shared secret"),
    pytest.param('{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA"}]}', id="a kind we do not take"),
    pytest.param('{"keys": [{"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}]}', id="another curve"),
    pytest.param('{"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]}', id="not on the curve"),
    pytest.param('{"keys": [{"kty": "EC", "crv": "P-256", "x": 1, "y": []}]}', id="numbers that are no text"),
    pytest.param('{"keys": [{"kty": "EC", "crv": "P-256"}]}', id="no numbers"),
    pytest.param('{"keys": [{"kty": "RSA"}]}', id="an RSA key without numbers"),
    pytest.param('{"keys": [{"kty": "RSA", "n": "!", "e": "AQAB"}]}', id="no base64"),
    pytest.param('{"keys": [{"kty": "RSA", "n": null, "e": null}]}', id="null for numbers"),
    pytest.param('{"keys": [{"kty": ["RSA"]}]}', id="a list for a kind"),
    pytest.param('{"keys": [{"kty": "RSA", "n": "AA", "e": "AQAB"}]}', id="a key of nothing"),
    pytest.param(" " * 16_385, id="endless"),
    pytest.param("[" * 9000, id="deep"),
]


@pytest.mark.parametrize("keys", KEYS_REFUSED)
def test_unusable_keys_are_refused(keys: str) -> None:
    """When they are registered."""
    with pytest.raises(BadKeys):
        read_keys(keys)


def test_weak_private_and_too_many_keys_are_refused() -> None:
    """1024 bits can be broken, and a private key should not have been sent."""
    good = public(ec_key("ours"))
    for listed in ([public(rsa_key("weak", 1024))], [{**good, "d": "AA"}], [good] * (KEYS_PER_PROVIDER + 1)):
        with pytest.raises(BadKeys):
            read_keys(json.dumps({"keys": listed}))
    assert len(read_keys(json.dumps({"keys": [good] * KEYS_PER_PROVIDER}))) == KEYS_PER_PROVIDER


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
FIELDS = {name: JSON | st.sampled_from(["RSA", "EC", "P-256", "AQAB"]) for name in ("kty", "crv", "n", "e", "x", "y")}


@given(st.lists(st.fixed_dictionaries({}, optional=FIELDS) | JSON, max_size=2))
def test_any_key_set_is_accepted_or_refused(keys: list[Any]) -> None:
    """Never with another error than BadKeys."""
    with suppress(BadKeys):
        assert len(read_keys(json.dumps({"keys": keys}))) == len(keys)
