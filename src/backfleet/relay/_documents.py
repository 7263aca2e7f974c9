"""Signed metadata as a relay reads it, unverified: what may be asked for, and what is still current."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

NAME: Final = re.compile(r"timestamp\.json|[1-9][0-9]{0,8}\.(?:root|snapshot|targets)\.json")
SHA256: Final = re.compile(r"[0-9a-f]{64}")


def is_current(content: bytes, now: datetime) -> bool:
    """Return whether a document has not expired yet; False if it cannot be read. Pure."""
    try:
        expires = datetime.strptime(str(_signed(content).get("expires")), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return False
    return now < expires


def named_version(content: bytes, name: str) -> int:
    """Return the version of `snapshot.json` or `targets.json` that a document names; 0 if it names none. Pure."""
    described = _table(_table(_signed(content).get("meta")).get(name))
    version = described.get("version")
    return version if type(version) is int and 0 < version < 10**9 else 0


def artifacts_of(content: bytes) -> dict[str, int]:
    """Return the artifacts that a targets document names: bytes by SHA-256. Pure."""
    found = {}
    for target in _table(_signed(content).get("targets")).values():
        sha256, length = _table(_table(target).get("hashes")).get("sha256"), _table(target).get("length")
        if isinstance(sha256, str) and SHA256.fullmatch(sha256) and type(length) is int and length > 0:
            found[sha256] = length
    return found


def _signed(content: bytes) -> Mapping[str, Any]:
    try:
        return _table(_table(json.loads(content)).get("signed"))
    except (ValueError, RecursionError):
        return {}


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
