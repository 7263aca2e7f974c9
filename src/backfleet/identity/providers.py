"""Identity providers: who else may authenticate callers, by signed tokens (OpenID Connect).

The public keys of a provider are registered with it; nothing is fetched from the network.
"""

import json
from datetime import datetime
from typing import Any, Final

from backfleet.identity import _store
from backfleet.identity.errors import LimitReached
from backfleet.identity.id_tokens import read_keys
from backfleet.identity.ids import digits
from backfleet.identity.model import Provider
from backfleet.identity.named import NamedItems
from backfleet.ids import Draw
from backfleet.storage import Transaction

PROVIDERS_PER_ACCOUNT: Final = 100
CLIENT_IDS: Final = 50
_PROVIDERS: Final = NamedItems("OIDCProvider", _store.providers.TABLE)


def create_provider(
    tx: Transaction,
    account_id: str,
    name: str,
    *,
    issuer: str,
    client_ids: tuple[str, ...],
    keys: str,
    description: str = "",
    now: datetime,
    draw: Draw,
) -> Provider:
    """Create an identity provider that no role trusts yet.

    Args:
        tx: the transaction to write in.
        account_id: the account.
        name: the provider's name in the account.
        issuer: the `iss` of its tokens.
        client_ids: the audiences that its tokens may be made for.
        keys: its public keys, a JSON Web Key Set.
        description: a text for people.
        now: the time of the call.
        draw: the source of random characters.

    Raises:
        BadKeys: the key set cannot be used.
        AlreadyExists: the name is taken.
        LimitReached: the account has PROVIDERS_PER_ACCOUNT, or there are no or too many client ids.
    """
    read_keys(keys)
    _check_client_ids(client_ids)
    _PROVIDERS.check_new(tx, account_id, name, PROVIDERS_PER_ACCOUNT)
    made = Provider("5" + digits(draw, 17), account_id, name, issuer, client_ids, keys, description, now, now)
    _store.providers.TABLE.add(tx, account_id, made)
    return made


def find_provider(tx: Transaction, account_id: str, name: str) -> Provider:
    """Return a provider.

    Raises:
        NotFound: the account has none of that name.
    """
    return _PROVIDERS.find(tx, account_id, name)


def list_providers(tx: Transaction, account_id: str) -> list[Provider]:
    """Return every provider of the account, by name."""
    return _store.providers.TABLE.after(tx, account_id, "", None)


def update_provider(
    tx: Transaction,
    account_id: str,
    name: str,
    *,
    client_ids: tuple[str, ...] | None = None,
    keys: str | None = None,
    description: str | None = None,
    now: datetime,
) -> Provider:
    """Change client ids, keys or description; None leaves one as it is. The issuer cannot change: roles trust it.

    Raises:
        NotFound: there is no such provider.
        BadKeys: the key set cannot be used.
        LimitReached: there are no or too many client ids.
    """
    found = find_provider(tx, account_id, name)
    changes: dict[str, Any] = {"updated_at": now}
    if keys is not None:
        read_keys(keys)
        changes["keys"] = keys
    if client_ids is not None:
        _check_client_ids(client_ids)
        changes["client_ids"] = json.dumps(client_ids)
    if description is not None:
        changes["description"] = description
    _store.providers.TABLE.change(tx, found.id, **changes)
    return find_provider(tx, account_id, name)


def delete_provider(tx: Transaction, account_id: str, name: str) -> None:
    """Delete a provider. Sessions that began with its tokens end.

    Raises:
        NotFound: there is no such provider.
    """
    _store.providers.TABLE.drop(tx, find_provider(tx, account_id, name).id)


def _check_client_ids(client_ids: tuple[str, ...]) -> None:
    if not 0 < len(client_ids) <= CLIENT_IDS:
        raise LimitReached("OIDCProvider.ClientId", CLIENT_IDS)
