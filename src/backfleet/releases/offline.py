"""Keys that never meet the server: they say whose word counts (root) and what a release is (targets).

The server writes down what waits for signatures, somebody signs it on a machine of their own, the server checks it and
takes it. With that, whoever takes the server over can neither make a release nor change whose word counts.
Source: TUF specification, sections 4.3, 4.5, 5.3 and 6.1.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.exceptions import StorageError
from securesystemslib.signer import CryptoSigner, Key
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets

MOST_KEYS: Final = 16
ROOT_LIFE: Final = timedelta(days=3650)


class BadDocument(ValueError):
    """What should be signed, or who should sign, cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What travels between the server and those who sign: who may sign, and what is offered."""

    root: Metadata[Root]
    targets: Metadata[Targets]

    def to_bytes(self) -> bytes:
        """As a file."""
        said = {name: json.loads(document.to_bytes()) for name, document in self._parts().items()}
        return json.dumps(said, indent=1, sort_keys=True).encode() + b"\n"

    def _parts(self) -> Mapping[str, Metadata[Any]]:
        return {"root": self.root, "targets": self.targets}

    @property
    def target_hashes(self) -> dict[str, str]:
        """SHA-256 by `package/version/platform`: what a signature vouches for."""
        return {path: file.hashes["sha256"] for path, file in self.targets.signed.targets.items()}


@dataclass(frozen=True, slots=True)
class Signers:
    """Whose word is to count: public keys, and how many of root's must agree."""

    threshold: int
    root: Sequence[Key]
    targets: Key

    def to_bytes(self) -> bytes:
        """As a file; it holds nothing secret."""
        said = {
            "threshold": self.threshold,
            "root": [_told(key) for key in self.root],
            "targets": _told(self.targets),
        }
        return json.dumps(said, indent=1, sort_keys=True).encode() + b"\n"


def new_signers(count: int, threshold: int) -> tuple[Signers, dict[str, Ed25519PrivateKey]]:
    """New keys by name, and their public halves.

    Raises:
        BadDocument: no such number of keys, or more must agree than there are.
    """
    if not 1 <= threshold <= count <= MOST_KEYS:
        raise BadDocument(f"of 1 to {MOST_KEYS} root keys, 1 to all must agree, not {threshold} of {count}")
    names = [*(f"root-{number}" for number in range(1, count + 1)), "targets"]
    made = {name: Ed25519PrivateKey.generate() for name in names}
    publics = [CryptoSigner(key).public_key for key in made.values()]
    return Signers(threshold, publics[:-1], publics[-1]), made


def read_signers(content: bytes) -> Signers:
    """Raises BadDocument."""
    try:
        said = json.loads(content)
        root = [_key(each) for each in said["root"]]
        found = Signers(int(said["threshold"]), root, _key(said["targets"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise BadDocument(f"this does not tell whose keys count: {problem!r}") from None
    if not 1 <= found.threshold <= len({key.keyid for key in found.root}) <= MOST_KEYS:
        raise BadDocument("more must agree than there are")
    return found


def read_bundle(content: bytes) -> Bundle:
    """Raises BadDocument."""
    try:
        said = json.loads(content)
        root, targets = (Metadata.from_bytes(json.dumps(said[name]).encode()) for name in ("root", "targets"))
        if not (isinstance(root.signed, Root) and isinstance(targets.signed, Targets)):
            raise ValueError("root and targets are mistaken for each other")
        found = Bundle(root, targets)
        found.target_hashes  # noqa: B018 - each must have one
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, RepositoryError, StorageError) as problem:
        raise BadDocument(f"this is not what `backfleet release pending` writes: {problem!r}"[:500]) from None
    return found


def with_signers(bundle: Bundle, signers: Signers, *, now: datetime) -> Bundle:
    """The bundle with a next root, in which these signers' word counts; snapshot and timestamp stay the server's."""
    root = Metadata.from_bytes(bundle.root.to_bytes()).signed
    assert isinstance(root, Root)  # noqa: S101 - as it was before
    for role in ("root", "targets"):
        for keyid in list(root.roles[role].keyids):
            root.revoke_key(keyid, role)
    for key in signers.root:
        root.add_key(key, "root")
    root.add_key(signers.targets, "targets")
    root.roles["root"].threshold, root.roles["targets"].threshold = signers.threshold, 1
    root.version, root.expires = root.version + 1, now + ROOT_LIFE
    return Bundle(Metadata(root), bundle.targets)


def sign(bundle: Bundle, keys: Sequence[Ed25519PrivateKey]) -> list[str]:
    """Add the signatures that these keys may give: root's on root, the targets' one on what is offered.

    A key that the root does not name signs the root too: it may be one of those it replaces. Returns what was signed.
    """
    signed = []
    named = bundle.root.signed.roles
    for signer in map(CryptoSigner, keys):
        keyid = signer.public_key.keyid
        if keyid in named["targets"].keyids:
            bundle.targets.sign(signer, append=True)
            signed.append("targets")
        if keyid in named["root"].keyids or keyid not in named["targets"].keyids:
            bundle.root.sign(signer, append=True)
            signed.append("root")
    return signed


def _told(key: Key) -> dict[str, Any]:
    return {"keyid": key.keyid, **key.to_dict()}


def _key(said: dict[str, Any]) -> Key:
    said = dict(said)
    return Key.from_dict(said.pop("keyid"), said)
