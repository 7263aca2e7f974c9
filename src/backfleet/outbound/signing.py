"""Webhooks in the form of Standard Webhooks: their secrets, and the headers that sign them. Pure."""

import base64
import hashlib
import hmac
from datetime import datetime
from typing import Final

_SECRET: Final = "whsec_"  # noqa: S105 -- a prefix
LEAST_SECRET: Final = 24  # bytes


def read_secret(text: str) -> bytes:
    """Return the key of a secret in the form of Standard Webhooks, `whsec_` and Base64.

    Raises:
        ValueError: it is none; the text does not show it.
    """
    prefix, encoded = text.strip()[: len(_SECRET)], text.strip()[len(_SECRET) :]
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError:
        key = b""
    if prefix != _SECRET or len(key) < LEAST_SECRET:
        raise ValueError(f"a webhook's secret is `{_SECRET}` and at least {LEAST_SECRET} bytes as Base64")
    return key


def signed(key: bytes, message_id: str, body: bytes, now: datetime) -> dict[str, str]:
    """Return the headers that sign a webhook. Source: Standard Webhooks, signature scheme v1."""
    at = str(int(now.timestamp()))
    content = b".".join((message_id.encode(), at.encode(), body))
    signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": at,
        "webhook-signature": f"v1,{signature}",
    }
