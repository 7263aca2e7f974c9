"""The file that says by which providers people log in."""

from pathlib import Path

import pytest

from backfleet.logins.oidc import read_offers
from documents import blocks_of

GOOD = """
console_url = "https://backfleet.example.com/"
[[login]]
id = "staff"
name = "Staff"
provider = "acs:ram::1:oidc-provider/staff"
role = "acs:ram::1:role/ops"
client_id = "backfleet"
authorization_url = "https://idp.example.com/authorize"
token_url = "https://idp.example.com/token"
"""


def read(folder: Path, text: str) -> object:
    (folder / "oidc.toml").write_text(text)
    return read_offers(str(folder / "oidc.toml"))


def test_a_file_gives_ways_to_log_in_and_their_addresses(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    (tmp_path / "oidc.toml").write_text(f'{GOOD}client_secret_file = "{tmp_path}/secret"\n')
    offers = read_offers(str(tmp_path / "oidc.toml"))
    (offer,) = offers.each
    assert offers.redirect_of(offer) == "https://backfleet.example.com/console/login/oidc/staff/done"
    assert (offer.client_secret, offer.scope, offer.person) == ("s3cret", "openid", "sub")
    assert offer.provider_arn == "acs:ram::1:oidc-provider/staff"
    assert "s3cret" not in repr(offers)
    assert offers.find("staff") is offer
    assert offers.find("") is None
    assert read_offers("").each == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(("https://idp.example.com/token", "http://idp.example.com/token"), "token_url", id="not over TLS"),
        pytest.param(("https://idp.example.com/token", "https://u:p@idp.example.com/"), "token_url", id="a password"),
        pytest.param(("https://idp.example.com/authorize", "javascript:x"), "authorization_url", id="no address"),
        pytest.param(("https://backfleet.example.com/", "https://x.example.com/console"), "without a path", id="path"),
        pytest.param(("1:role", "2:role"), "one account", id="a role of another account"),
        pytest.param(('"staff"\nname', '"Staff!"\nname'), "id is 'Staff!'", id="an id with other characters"),
        pytest.param(('client_id = "backfleet"\n', ""), "has no client_id", id="a key that is missing"),
        pytest.param(('client_id = "backfleet"', "client_id = 5"), "client_id must be a text", id="a number"),
        pytest.param(('client_id = "backfleet"', 'clientid = "backfleet"'), "unknown key 'clientid'", id="a slip"),
        pytest.param(("console_url", "url"), "unknown key 'url'", id="an unknown key"),
        pytest.param(("[[login]]", '[[login]]\nscope = "email"'), "openid in it", id="a scope without openid"),
        pytest.param(("[[login]]", "[[login]]\nclient_secret_file = '/nowhere'"), "cannot be read", id="no secret"),
        pytest.param(("[[login]]", "[login]"), "one to 20 tables", id="no list"),
        pytest.param(("[[login]]", "[[login"), "cannot be read", id="no TOML"),
    ],
)
def test_a_file_that_cannot_be_used_says_what_to_write(tmp_path: Path, change: tuple[str, str], reason: str) -> None:
    assert change[0] in GOOD
    with pytest.raises(ValueError, match=reason.replace("'", ".")):
        read(tmp_path, GOOD.replace(*change))


def test_two_ways_with_one_id_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="same id"):
        read(tmp_path, GOOD + GOOD[GOOD.index("[[login]]") :])
    with pytest.raises(ValueError, match="cannot be read"):
        read_offers(str(tmp_path / "none.toml"))


def test_the_file_of_the_documentation_can_be_read(tmp_path: Path) -> None:
    (block,) = (block for block in blocks_of("docs/console.md") if block.language == "toml")
    (tmp_path / "secret").write_text("s3cret")
    text = block.text.replace("ACCOUNT", "1").replace("/etc/backfleet/oidc-secret", str(tmp_path / "secret"))
    (tmp_path / "oidc.toml").write_text(text)
    (offer,) = read_offers(str(tmp_path / "oidc.toml")).each
    assert offer.keys_url == "https://idp.example.com/keys"
