"""Callers as text, for what is done in their name later. No secret is in it."""

import json
from typing import Any

from backfleet.identity.model import Caller, Session


def write_caller(caller: Caller) -> str:
    """Return what names a caller, and what their permissions are read by, as JSON. No secret is among it."""
    session = caller.session
    fields: dict[str, Any] = {
        name: getattr(caller, name)
        for name in ("account_id", "kind", "arn", "principal_id", "user_id", "user_name", "role_id", "access_key_id")
    }
    if session is not None:
        fields["session"] = [
            session.role_name,
            session.name,
            session.policy,
            session.source_identity,
            session.provider,
            session.person,
        ]
    return json.dumps(fields)


def read_caller(text: str) -> Caller:
    """Return what `write_caller` wrote."""
    fields = json.loads(text)
    found = fields.pop("session", None)
    session = None
    if found is not None:
        role_name, name, policy, source, provider, *person = found
        session = Session(role_name, name, policy, source, provider=provider, person="".join(person))
    return Caller(**fields, session=session)
