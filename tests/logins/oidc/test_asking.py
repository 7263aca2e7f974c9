"""What the server asks a provider, and what it does not take for an answer."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backfleet import identity
from backfleet.logins.oidc import Attempt, LoginRefused, Offer, Provider
from backfleet.logins.oidc.asking import signing_keys
from backfleet.outbound import Destinations
from identity.signed_tokens import ec_key, public, rsa_key
from rollouts.outside.servers import Talk, breaks_off, drips, is_no_http, make_certificate, says, serving

NOW = datetime(2026, 11, 28, tzinfo=UTC)
KNOWN = identity.Provider("5", "1", "staff", "https://idp", ("backfleet",), "{}", "", NOW, NOW)
ATTEMPT = Attempt("staff", "state", "nonce", "verifier", "", 0.0)


def offer_at(port: int, scheme: str = "https") -> Offer:
    url = f"{scheme}://127.0.0.1:{port}"
    return Offer("staff", "Staff", "1", "staff", "acs:ram::1:role/ops", "backfleet", url, f"{url}/token", "", "s3cret")


@pytest.mark.parametrize(
    ("talk", "reason"),
    [
        pytest.param(drips, "within 3 s", id="slow"),
        pytest.param(breaks_off, "breaks off", id="half"),
        pytest.param(is_no_http, "gave no answer", id="no HTTP"),
        pytest.param(says("[" * 60_000), "answered 200", id="endlessly nested"),
        pytest.param(says("[]"), "answered 200", id="no object"),
        pytest.param(says('{"id_token": ["x"]}'), "no ID token", id="no text"),
        pytest.param(says('{"id_token": "a.b.c"}'), "is refused", id="no token"),
    ],
)
def test_no_answer_holds_a_login_up_or_passes_for_a_token(tmp_path: Path, talk: Talk, reason: str) -> None:
    certificate, context = make_certificate(tmp_path, "127.0.0.1")
    trust = ssl.create_default_context(cafile=str(certificate))
    with serving(talk, context) as (port, asked):
        provider = Provider(offer_at(port), Destinations.read("127.0.0.1"), trust, seconds=3 if talk is drips else 60)
        with pytest.raises(LoginRefused, match=reason) as refused:
            provider.token_for("code", ATTEMPT, "https://here/done", KNOWN, lambda: NOW)
    assert "s3cret" not in str(refused.value)
    assert b"code_verifier=verifier" in asked[0]
    assert b"Basic " in asked[0]


def test_the_server_goes_only_where_its_settings_allow_and_only_to_whom_it_believes(tmp_path: Path) -> None:
    _, context = make_certificate(tmp_path, "127.0.0.1")
    with serving(says("{}"), context) as (port, asked):
        for allowed, reason in (("", "outbound_allowed"), ("10.0.0.0/8", "outbound_allowed"),
                                ("127.0.0.1", "gave no answer")):  # fmt: skip
            provider = Provider(offer_at(port), Destinations.read(allowed), ssl.create_default_context(), seconds=60)
            with pytest.raises(LoginRefused, match=reason):
                provider.token_for("code", ATTEMPT, "https://here/done", KNOWN, lambda: NOW)
        assert asked == [], "nothing is sent to a server without a certificate that is believed"


def test_keys_of_a_provider_that_sign_nothing_here_are_left_out() -> None:
    signs, encrypts = public(ec_key("a"), "1"), {**public(rsa_key("b"), "2"), "use": "enc"}
    found = signing_keys(
        {"keys": [encrypts, {"kty": "OKP"}, "x", {**signs, "alg": "ES256"}, {**signs, "crv": "P-384"}]}
    )
    assert found.count('"kid"') == 1
    assert '"1"' in found
    for document in ({}, {"keys": 5}, {"keys": {"a": 1}}):
        assert signing_keys(document) == '{"keys": []}'
