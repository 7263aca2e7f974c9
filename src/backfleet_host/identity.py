"""The identity that the server gave this host. Agent and upgrader read it; enrolment writes it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from backfleet_host.files import write_file
from backfleet_host.layout import Places


class NotEnrolled(Exception):
    """This root has no identity, or one that cannot be read; the text says what to do."""


@dataclass(frozen=True)
class Identity:
    """What the server knows this host by. It is written last at enrolment: where it exists, the host is enrolled."""

    instance_id: str
    machine_id: str
    server: str  # HOST:PORT, with a path if the server is reached under one
    name: str = ""
    enrolled_at: str = ""  # ISO 8601, UTC


def keep_identity(places: Places, identity: Identity) -> None:
    """Write the identity: from now on this host is enrolled."""
    write_file(places.identity, json.dumps(dataclasses.asdict(identity), indent=1, sort_keys=True).encode() + b"\n")


def read_identity(places: Places) -> Identity:
    """Return the identity of this root.

    Raises:
        NotEnrolled: there is none, or it cannot be read.
    """
    try:
        fields = json.loads(places.identity.read_bytes())
        return Identity(**{field.name: str(fields[field.name]) for field in dataclasses.fields(Identity)})
    except FileNotFoundError:
        raise NotEnrolled(f"{places.root} is not enrolled; run `backfleet-host enrol` first") from None
    except PermissionError:
        advice = "run as the user who enrolled the host"
        raise NotEnrolled(f"{places.identity} may not be read by this user; {advice}") from None
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise NotEnrolled(f"{places.identity} cannot be used ({problem}); remove it and enrol again") from None
