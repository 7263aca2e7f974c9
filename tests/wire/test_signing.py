"""Signatures, compared with recorded requests of the official clients, and signed and verified by ourselves."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from backfleet.wire import signing

VECTORS = Path(__file__).parent / "vectors"
Vector = dict[str, Any]

anything = st.text(st.characters(codec="utf-8"), max_size=20)
some_parameters = st.dictionaries(anything.filter(lambda name: name != "Signature"), anything, max_size=8)


def recorded(version: int) -> list[Any]:
    found = json.loads((VECTORS / f"signature-v{version}.json").read_text())
    return [pytest.param(vector, id=vector["id"]) for vector in found]


def parameters_of(vector: Vector) -> tuple[dict[str, str], dict[str, str]]:
    """Query and form of a recorded request, decoded."""
    query = dict(parse_qsl(urlsplit(vector["url"]).query, keep_blank_values=True))
    headers = headers_of(vector)
    is_form = headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    return query, dict(parse_qsl(vector["body"], keep_blank_values=True)) if is_form else {}


def headers_of(vector: Vector) -> dict[str, str]:
    return {name.lower(): value for name, value in vector["headers"].items()}


def test_no_vector_was_lost() -> None:
    """Every recorded request is tested."""
    assert (len(recorded(1)), len(recorded(3))) == (22, 16)


# --- V1 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", recorded(1))
def test_recorded_v1_signatures_are_reproduced(vector: Vector) -> None:
    """String to sign and signature of every recorded V1 request; one was wrong on the client's side."""
    query, form = parameters_of(vector)
    flat = query | form
    text = signing.v1_string_to_sign(vector["method"], flat)
    assert text == vector["string_to_sign"]
    assert signing.sign_v1(vector["access_key_secret"], vector["method"], flat) == vector["expected_signature"]
    method = flat["SignatureMethod"]
    assert signing.verify(method, vector["access_key_secret"], text, flat["Signature"]) is vector["must_verify"]


@pytest.mark.parametrize("vector", recorded(1))
def test_any_other_parameter_breaks_a_v1_signature(vector: Vector) -> None:
    """Each parameter in turn changed, dropped or added, in query or form; and the other method."""
    query, form = parameters_of(vector)
    flat = query | form

    def holds(method: str, changed: dict[str, str]) -> bool:
        text = signing.v1_string_to_sign(method, changed)
        return signing.verify("HMAC-SHA1", vector["access_key_secret"], text, flat["Signature"])

    for name in flat.keys() - {"Signature"}:
        assert not holds(vector["method"], flat | {name: flat[name] + "x"})
        assert not holds(vector["method"], {n: v for n, v in flat.items() if n != name})
    assert not holds(vector["method"], flat | {"Added": ""})
    assert not holds({"GET": "POST", "POST": "GET"}[vector["method"]], flat)


@pytest.mark.parametrize("bad", ["", "!", "AAAA", "OLeaidS1JvxuMvnyHOwuJ+uX5qY", "OLeaidS1JvxuMvnyHOwuJ+uX5qY=\n", "é"])
def test_a_malformed_signature_is_refused(bad: str) -> None:
    """Short, padded wrongly, or not base64: refused, never an exception."""
    assert not signing.verify("HMAC-SHA1", "testsecret", "GET&%2F&", bad)


@given(parameters=some_parameters, secret=anything, method=st.sampled_from(["GET", "POST"]))
def test_our_own_v1_signatures_are_accepted(parameters: dict[str, str], secret: str, method: str) -> None:
    """Any parameters, any secret; their order does not matter."""
    parameters.pop("SignatureMethod", None)
    signature = signing.sign_v1(secret, method, parameters)
    shuffled = dict(reversed(parameters.items())) | {"Signature": signature}
    text = signing.v1_string_to_sign(method, shuffled)
    assert signing.verify("HMAC-SHA1", secret, text, signature)
    assert not signing.verify("HMAC-SHA1", secret + "x", text, signature)


# --- V3 -------------------------------------------------------------------------------------------------------------


def v3_text(vector: Vector, **changed: Any) -> tuple[signing.Authorization, str, str]:
    """Authorization, canonical request and string to sign of a recorded request, parts of it changed."""
    request = vector | changed
    headers = headers_of(request)
    authorization = signing.read_authorization(headers["authorization"])
    body = request["body"].encode()
    query, _form = parameters_of(request)
    canonical = signing.v3_canonical_request(
        request["method"],
        query,
        headers,
        authorization.signed_headers,
        signing.payload_hash(authorization.algorithm, body),
    )
    return authorization, canonical, signing.v3_string_to_sign(authorization.algorithm, canonical)


def v3_holds(vector: Vector, **changed: Any) -> bool:
    authorization, _, text = v3_text(vector, **changed)
    return signing.verify(authorization.algorithm, vector["access_key_secret"], text, authorization.signature)


@pytest.mark.parametrize("vector", recorded(3))
def test_recorded_v3_signatures_are_reproduced(vector: Vector) -> None:
    """Canonical request, string to sign and signature of every recorded V3 request, SM3 included."""
    authorization, canonical, text = v3_text(vector)
    assert canonical == vector["canonical_request"]
    assert text == vector["string_to_sign"]
    signature = signing.sign(authorization.algorithm, vector["access_key_secret"], text)
    assert signature == vector["expected_signature"]
    assert v3_holds(vector) is vector["must_verify"]
    assert headers_of(vector)["x-acs-content-sha256"] == signing.payload_hash(
        authorization.algorithm, vector["body"].encode()
    )
    assert set(authorization.signed_headers) >= signing.MUST_BE_SIGNED


@pytest.mark.parametrize("vector", recorded(3))
def test_any_other_byte_breaks_a_v3_signature(vector: Vector) -> None:
    """Body, method, each parameter and each signed header in turn, changed by one character."""
    assert not v3_holds(vector, body=vector["body"] + "x")
    assert not v3_holds(vector, method="PUT")
    joint = "&" if "?" in vector["url"] else "?"
    assert not v3_holds(vector, url=f"{vector['url']}{joint}Added=")
    for name in signing.read_authorization(headers_of(vector)["authorization"]).signed_headers:
        changed = {n: v + "x" if n.lower() == name else v for n, v in vector["headers"].items()}
        assert not v3_holds(vector, headers=changed)


@given(
    query=some_parameters,
    body=st.binary(max_size=50),
    secret=anything,
    algorithm=st.sampled_from([n for n, row in signing.SCHEMES.items() if row.version == 3 and "HMAC" in n]),
)
def test_our_own_v3_signatures_are_accepted(query: dict[str, str], body: bytes, secret: str, algorithm: str) -> None:
    """The server accepts the header that our own client sends."""
    digest = signing.payload_hash(algorithm, body)
    headers = {"host": "h:8443", "x-acs-content-sha256": digest, "accept": "text/plain"}
    header = signing.authorize_v3(
        "id", secret, method="POST", query=query, headers=headers, payload_hash=digest, algorithm=algorithm
    )
    found = signing.read_authorization(header)
    assert str(found) == header
    assert (found.algorithm, found.access_key_id) == (algorithm, "id")
    assert found.signed_headers == ("host", "x-acs-content-sha256")  # accept is the transport's own affair
    text = signing.v3_string_to_sign(
        algorithm, signing.v3_canonical_request("POST", query, headers, found.signed_headers, digest)
    )
    assert signing.verify(algorithm, secret, text, found.signature)
    assert not signing.verify(algorithm, secret + "x", text, found.signature)


@pytest.mark.parametrize(
    "header",
    [
        "ACS3-HMAC-SHA256",
        "ACS3-HMAC-SHA256 Credential=a,SignedHeaders=host",
        "ACS3-HMAC-SHA256 Credential=,SignedHeaders=host,Signature=00",
        "ACS3-HMAC-SHA256 Credential=a,Credential=b,SignedHeaders=host,Signature=00",
        "ACS3-HMAC-SHA256 Credential=a,SignedHeaders=host;host,Signature=00",
        "ACS3-HMAC-SHA256 Credential=a,SignedHeaders=Host,Signature=00",
        "ACS3-HMAC-SHA256 Credential=a,SignedHeaders=host;,Signature=00",
        "ACS3-HMAC-SHA256 Credential=a,SignedHeaders=host,Signature=00,More=1",
    ],
)
def test_a_malformed_authorization_is_refused(header: str) -> None:
    """Each part once, no more and no fewer, names in lower case."""
    with pytest.raises(signing.MalformedSignature):
        signing.read_authorization(header)


@pytest.mark.parametrize("name", ["HMAC-SHA256", "HMAC-SHA1 ", "ACS3-HMAC-MD5", ""])
def test_an_unknown_scheme_is_refused(name: str) -> None:
    """The refusal has its name."""
    with pytest.raises(signing.UnknownScheme) as refused:
        signing.verify(name, "secret", "text", "00")
    assert refused.value.found == name


def test_a_v1_method_is_not_a_v3_algorithm() -> None:
    """A header cannot choose a scheme of the other version."""
    with pytest.raises(signing.UnknownScheme):
        signing.read_authorization("HMAC-SHA1 Credential=a,SignedHeaders=host,Signature=00")


# --- Key pairs ------------------------------------------------------------------------------------------------------


def pem_pair() -> tuple[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


@pytest.mark.parametrize("scheme", ["SHA256withRSA", "ACS3-RSA-SHA256"])
def test_a_key_pair_signs_and_verifies(scheme: str) -> None:
    """The public key accepts what the private key signed; another text, key or kind of key is refused."""
    private, public = pem_pair()
    signature = signing.sign(scheme, private, "text")
    assert signing.verify(scheme, public, "text", signature)
    assert not signing.verify(scheme, public, "texts", signature)
    assert not signing.verify(scheme, pem_pair()[1], "text", signature)
    assert not signing.verify(scheme, "no key at all", "text", signature)


# --- Encoding -------------------------------------------------------------------------------------------------------


@given(anything)
def test_percent_encoding_can_be_decoded(text: str) -> None:
    """Nothing is lost, and nothing but unreserved characters and %XX is left."""
    encoded = signing.percent_encode(text)
    assert unquote(encoded, errors="strict") == text
    assert all(c.isascii() and (c.isalnum() or c in "-_.~%") for c in encoded)


def test_percent_encoding_is_that_of_the_protocol() -> None:
    """The four characters that library encoders get wrong, and upper-case hex."""
    assert signing.percent_encode("~ *+/é") == "~%20%2A%2B%2F%C3%A9"


@pytest.mark.parametrize("text", ["%", "%25", '["i-1","i-2%"]', "é%é", "%C3%A9", "".join(map(chr, range(256)))])
def test_percent_encoding_is_that_of_the_library(text: str) -> None:
    """With few kinds of characters and with many, and where the text is encoded already."""
    assert signing.percent_encode(text) == quote(text, safe="-_.~")


@given(some_parameters)
@settings(max_examples=200)
def test_a_canonical_query_can_be_read_back(parameters: dict[str, str]) -> None:
    """Any reader of queries gets the same parameters, in byte order of their names."""
    found = parse_qsl(signing.canonical_query(parameters), keep_blank_values=True, errors="strict")
    assert dict(found) == parameters
    assert [name.encode() for name, _ in found] == sorted(name.encode() for name in parameters)
