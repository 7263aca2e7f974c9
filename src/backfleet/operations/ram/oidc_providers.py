"""Identity providers (OpenID Connect).

The cloud has them in another product and fetches their keys. Here they are part of RAM, like the roles that trust them,
and callers give the keys, so that the server needs no way out.
"""

import re
from typing import Any, Final

from backfleet import identity
from backfleet.operations.catalogue import RAM, Call, operation
from backfleet.operations.ram import naming
from backfleet.operations.ram.errors import BadKeySet, bad_names, bad_parameter, bad_texts, ram_errors, refusals
from backfleet.operations.ram.requests import arn_of, every_arn
from backfleet.values import value_object
from backfleet.wire.parameters import text

_ISSUER: Final = re.compile(r"https://[!-~]{1,240}")
_CLIENT_ID: Final = re.compile(r"[!-~]{1,128}")
BAD_ISSUER: Final = bad_parameter("IssuerUrl", "Format")
BAD_CLIENT_IDS: Final = bad_parameter("ClientIds", "Format")
PROVIDER: Final = {
    "OIDCProviderName": str,
    "Arn": str,
    "IssuerUrl": str,
    "ClientIds": str,
    "Keys": str,
    "Description": str,
    "CreateDate": str,
    "UpdateDate": str,
}


@value_object
class NamedProvider:
    """An identity provider."""

    name: str = text("OIDCProviderName", required=True, longest=naming.ON_THE_WIRE, raw=True)


@value_object
class NewProvider(NamedProvider):
    """An identity provider to register. `Keys` is its JSON Web Key Set."""

    issuer: str = text("IssuerUrl", required=True, longest=naming.ON_THE_WIRE)
    client_ids: str = text("ClientIds", required=True, longest=8192)
    keys: str = text("Keys", required=True, raw=True)
    description: str = text("Description", default="", raw=True)


@value_object
class ChangedProvider(NamedProvider):
    """A provider and new details. What is not given stays. The issuer cannot change: roles trust it."""

    client_ids: str | None = text("ClientIds", longest=8192)
    keys: str | None = text("Keys", raw=True)
    description: str | None = text("NewDescription", raw=True)


@value_object
class ListedProviders:
    """No parameters."""


PROVIDER_ARN: Final = arn_of("oidc-provider", "name")


@operation(
    RAM,
    "CreateOIDCProvider",
    action="ram:CreateOIDCProvider",
    resources=PROVIDER_ARN,
    answer={"OIDCProvider": PROVIDER},
    errors=(
        *bad_names("OIDCProviderName"),
        BAD_ISSUER,
        BAD_CLIENT_IDS,
        BadKeySet,
        *bad_texts("Description"),
        *refusals(
            "EntityAlreadyExists.OIDCProvider", "LimitExceeded.OIDCProvider", "LimitExceeded.OIDCProvider.ClientId"
        ),
    ),
)
def create_oidc_provider(call: Call, asked: NewProvider) -> dict[str, Any]:
    """Register an identity provider. No role trusts it yet."""
    name = naming.provider_name(asked.name)
    if not _ISSUER.fullmatch(asked.issuer):
        raise BAD_ISSUER("It is an https address.")
    details = {
        "issuer": asked.issuer,
        "keys": asked.keys,
        "description": naming.free_text("Description", asked.description, 256),
    }
    clients = _client_ids(asked.client_ids)
    with ram_errors(), call.services.database.transaction() as tx:
        made = identity.create_provider(
            tx, call.account_id, name, client_ids=clients, now=call.now, draw=call.services.draw, **details
        )
    return {"OIDCProvider": _shown(made)}


@operation(
    RAM,
    "GetOIDCProvider",
    action="ram:GetOIDCProvider",
    resources=PROVIDER_ARN,
    answer={"OIDCProvider": PROVIDER},
    errors=(*bad_names("OIDCProviderName"), *refusals("EntityNotExist.OIDCProvider")),
)
def get_oidc_provider(call: Call, asked: NamedProvider) -> dict[str, Any]:
    """Return an identity provider."""
    name = naming.provider_name(asked.name)
    with ram_errors(), call.services.database.reading() as tx:
        return {"OIDCProvider": _shown(identity.find_provider(tx, call.account_id, name))}


@operation(
    RAM,
    "ListOIDCProviders",
    action="ram:ListOIDCProviders",
    resources=every_arn("oidc-provider"),
    answer={"OIDCProviders": {"OIDCProvider": [PROVIDER]}},
)
def list_oidc_providers(call: Call, asked: ListedProviders) -> dict[str, Any]:
    """List the identity providers of the account by name."""
    with call.services.database.reading() as tx:
        found = identity.list_providers(tx, call.account_id)
    return {"OIDCProviders": {"OIDCProvider": [_shown(provider) for provider in found]}}


@operation(
    RAM,
    "UpdateOIDCProvider",
    action="ram:UpdateOIDCProvider",
    resources=PROVIDER_ARN,
    answer={"OIDCProvider": PROVIDER},
    errors=(
        *bad_names("OIDCProviderName"),
        BAD_CLIENT_IDS,
        BadKeySet,
        *bad_texts("NewDescription"),
        *refusals("EntityNotExist.OIDCProvider", "LimitExceeded.OIDCProvider.ClientId"),
    ),
)
def update_oidc_provider(call: Call, asked: ChangedProvider) -> dict[str, Any]:
    """Change the keys, client ids or description of a provider, from the next token on."""
    name = naming.provider_name(asked.name)
    clients = None if asked.client_ids is None else _client_ids(asked.client_ids)
    described = asked.description and naming.free_text("NewDescription", asked.description, 256)
    changes = {"keys": asked.keys, "description": described}
    with ram_errors(), call.services.database.transaction() as tx:
        changed = identity.update_provider(tx, call.account_id, name, client_ids=clients, now=call.now, **changes)
    return {"OIDCProvider": _shown(changed)}


@operation(
    RAM,
    "DeleteOIDCProvider",
    action="ram:DeleteOIDCProvider",
    resources=PROVIDER_ARN,
    answer={},
    errors=(*bad_names("OIDCProviderName"), *refusals("EntityNotExist.OIDCProvider")),
)
def delete_oidc_provider(call: Call, asked: NamedProvider) -> dict[str, Any]:
    """Delete an identity provider. Sessions that began with one of its tokens end."""
    name = naming.provider_name(asked.name)
    with ram_errors(), call.services.database.transaction() as tx:
        identity.delete_provider(tx, call.account_id, name)
    return {}


def _client_ids(written: str) -> tuple[str, ...]:
    listed = tuple(dict.fromkeys(part.strip() for part in written.split(",")))
    if not all(map(_CLIENT_ID.fullmatch, listed)):
        raise BAD_CLIENT_IDS("They are separated by commas and have 1 to 128 characters each.")
    return listed


def _shown(provider: identity.Provider) -> dict[str, Any]:
    return {
        "OIDCProviderName": provider.name,
        "Arn": provider.arn,
        "IssuerUrl": provider.issuer,
        "ClientIds": ",".join(provider.client_ids),
        "Keys": provider.keys,
        "Description": provider.description,
        "CreateDate": naming.date(provider.created_at),
        "UpdateDate": naming.date(provider.updated_at),
    }
