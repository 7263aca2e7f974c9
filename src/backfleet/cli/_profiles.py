"""Profiles of the command line: for each name a server, the authority to trust, and a key.

They are in one file that only its owner can read. Source of the place: the XDG Base Directory Specification.
"""

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from backfleet_host.files import write_file

DEFAULT: Final = "default"
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PRIVATE: Final = 0o600


class BadProfiles(Exception):
    """The file cannot be read or written; the text says why and what to do."""


@dataclass(frozen=True, slots=True, repr=False)
class Profile:
    """One server, and one key for it."""

    endpoint: str
    access_key_id: str
    access_key_secret: str
    security_token: str = ""
    ca_file: str = ""
    region: str = ""

    def __repr__(self) -> str:
        return f"Profile({self.endpoint}, {self.access_key_id})"


def folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where profiles are."""
    base = environment.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "backfleet"


def file_of(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the file with the profiles."""
    return folder(environment) / "profiles.json"


def read(environment: Mapping[str, str] = os.environ) -> dict[str, Profile]:
    """Return all profiles by name; none, if there is no file.

    Raises:
        BadProfiles: others may read the file, or it is not what `backfleet configure` writes.
    """
    file = file_of(environment)
    try:
        with file.open() as opened:
            mode = os.fstat(opened.fileno()).st_mode
            content = json.load(opened)
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise BadProfiles(f"others can read {file}, and it has secrets: run chmod go-rwx {file}; change the keys")
        return {str(name): _profile(found) for name, found in content["profiles"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as problem:
        kind = type(problem).__name__
        raise BadProfiles(f"{file} cannot be read ({kind}): correct it, or move it away and configure anew") from None


def _profile(found: Mapping[str, Any]) -> Profile:
    return Profile(**{name: str(value) for name, value in found.items()})


def write(name: str, profile: Profile | None, ca: bytes | None, environment: Mapping[str, str] = os.environ) -> None:
    """Store a profile, or delete it if it is None. A copy of the authority's certificate is kept beside it.

    Raises:
        BadProfiles: the file cannot be read or written.
    """
    known = read(environment)
    place = folder(environment)
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        certificate = place / f"{name}.pem"
        if profile is None:
            known.pop(name, None)
            certificate.unlink(missing_ok=True)
        else:
            if ca is not None:
                write_file(certificate, ca, 0o644)
                profile = replace(profile, ca_file=str(certificate))
            known[name] = profile
        content = {"profiles": {each: asdict(known[each]) for each in sorted(known)}}
        write_file(file_of(environment), json.dumps(content, indent=2).encode(), _PRIVATE)
    except OSError as problem:
        raise BadProfiles(f"{place} cannot be written: {problem}") from None
