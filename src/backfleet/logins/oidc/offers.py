"""The file of the settings that says by which providers people log in to the console (TOML)."""

import re
import tomllib
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from backfleet.logins.oidc.model import Offer, Offers

MOST: Final = 20  # ways to log in
_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_PROVIDER: Final = re.compile(r"acs:ram::([0-9]{1,32}):oidc-provider/([A-Za-z0-9._-]{1,128})")
_ROLE: Final = re.compile(r"acs:ram::([0-9]{1,32}):role/([A-Za-z0-9._-]{1,64})")
_NEEDED: Final = ("id", "name", "provider", "role", "client_id", "authorization_url", "token_url")
_OTHERS: Final = ("keys_url", "client_secret_file", "scope", "person")


def read_offers(file: str) -> Offers:
    """Read the file that the setting `console_oidc_file` names; no way to log in if it names none.

    Raises:
        ValueError: it cannot be read or used; the text names the key, what was found, and what to write.
    """
    if not file:
        return Offers()
    try:
        found = tomllib.loads(Path(file).read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise ValueError(f"{file} cannot be read: {problem}") from None
    unknown = set(found) - {"console_url", "login"}
    if unknown:
        raise ValueError(f"{file}: unknown key {sorted(unknown)[0]!r}; known are console_url and [[login]]")
    console_url = _address("console_url", found.get("console_url"), also_plain=True)
    if urlsplit(console_url).path or urlsplit(console_url).query:
        raise ValueError(f"console_url is {console_url!r}; write it without a path: https://backfleet.example.com")
    listed = found.get("login")
    if not isinstance(listed, list) or not 0 < len(listed) <= MOST:
        raise ValueError(f"{file} needs one to {MOST} tables [[login]]")
    offers = tuple(_offer(number, entry) for number, entry in enumerate(listed, 1))
    if len({offer.id for offer in offers}) < len(offers):
        raise ValueError(f"two tables [[login]] of {file} have the same id; each needs its own")
    return Offers(console_url, offers)


def _offer(number: int, entry: Any) -> Offer:
    where = f"[[login]] number {number}"
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is no table")
    for name, value in entry.items():
        if name not in (*_NEEDED, *_OTHERS):
            raise ValueError(f"{where}: unknown key {name!r}; known are {', '.join((*_NEEDED, *_OTHERS))}")
        if not isinstance(value, str) or not value or not value.isprintable() or len(value) > 1000:
            raise ValueError(f"{where}: {name} must be a text")
    missing = [name for name in _NEEDED if name not in entry]
    if missing:
        raise ValueError(f"{where} has no {missing[0]}")
    provider, role = _PROVIDER.fullmatch(entry["provider"]), _ROLE.fullmatch(entry["role"])
    if not _ID.fullmatch(entry["id"]):
        raise ValueError(f"{where}: id is {entry['id']!r}; it has 1 to 32 of a-z, 0-9 and -")
    if provider is None or role is None or provider[1] != role[1]:
        raise ValueError(
            f"{where}: provider and role must be ARNs of one account, acs:ram::ACCOUNT:oidc-provider/NAME and "
            "acs:ram::ACCOUNT:role/NAME"
        )
    scope = entry.get("scope", "openid")
    if "openid" not in scope.split():
        raise ValueError(f"{where}: scope is {scope!r}; it must have openid in it")
    return Offer(
        entry["id"],
        entry["name"],
        provider[1],
        provider[2],
        entry["role"],
        entry["client_id"],
        _address(f"{where}: authorization_url", entry["authorization_url"]),
        _address(f"{where}: token_url", entry["token_url"]),
        _address(f"{where}: keys_url", entry["keys_url"]) if "keys_url" in entry else "",
        _secret(where, entry.get("client_secret_file", "")),
        scope,
        entry.get("person", "sub"),
    )


def _address(name: str, value: Any, *, also_plain: bool = False) -> str:
    text = value.rstrip("/") if also_plain and isinstance(value, str) else value
    try:
        parts = urlsplit(text if isinstance(text, str) else "")
        fits = bool(parts.hostname) and not parts.fragment and parts.username is None and parts.port != 0
    except ValueError:
        fits = False
    schemes = ("https", "http") if also_plain else ("https",)
    if not isinstance(text, str) or not fits or parts.scheme not in schemes or not text.isascii():
        raise ValueError(f"{name} is {value!r}; it must be an address that begins with https://")
    return text


def _secret(where: str, file: str) -> str:
    if not file:
        return ""
    try:
        found = Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise ValueError(f"{where}: client_secret_file cannot be read: {problem}") from None
    if not found or not found.isprintable():
        raise ValueError(f"{where}: client_secret_file {file} must hold one line, the secret")
    return found
