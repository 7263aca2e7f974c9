"""Keys that never meet the server: they say whose word counts (root) and what a release is (targets).

The server writes down what waits for signatures, somebody signs it on a machine of their own, the server checks it and
takes it. With that, whoever takes the server over can neither make a release nor change whose word counts.
Source: TUF specification, sections 4.3, 4.5, 5.3 and 6.1.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.exceptions import StorageError
from securesystemslib.signer import CryptoSigner, Key, Signature
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets

MOST_KEYS: Final = 16
LARGEST_BUNDLE: Final = 10_000_000  # bytes; a few times what hosts take
ROOT_LIFE: Final = timedelta(days=3650)
LEAST_ROOT_LIFE: Final = timedelta(days=30)  # a root that ends sooner leaves no time to agree on the next
TARGETS_LIFE: Final = timedelta(days=365)
CLOCKS_DIFFER: Final = timedelta(days=1)  # at most, between the server and those who sign

Of = TypeVar("Of", Root, Targets)


class BadDocument(ValueError):
    """What should be signed, or who should sign, cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What travels between the server and those who sign: who may sign, and what is offered.

    With `replaces`, the root is one to agree on, and that is the one in force; without, the root is in force itself.
    """

    root: Metadata[Root]
    targets: Metadata[Targets]
    replaces: Metadata[Root] | None = None

    def to_bytes(self) -> bytes:
        """As a file."""
        said = {name: json.loads(document.to_bytes()) for name, document in self._parts().items()}
        return json.dumps(said, indent=1, sort_keys=True).encode() + b"\n"

    def _parts(self) -> Mapping[str, Metadata[Any]]:
        parts: dict[str, Metadata[Any]] = {"root": self.root, "targets": self.targets}
        return parts if self.replaces is None else {**parts, "replaces": self.replaces}


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
        people = {key.keyval["public"] for key in root}  # not their ids: one key under two would count twice
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise BadDocument(f"this does not tell whose keys count: {_why(problem)}") from None
    if not 1 <= found.threshold <= len(people) == len(root) <= MOST_KEYS:
        raise BadDocument("more must agree than there are, or one key is there twice")
    return found


def read_bundle(content: bytes) -> Bundle:
    """Raises BadDocument."""
    try:
        if len(content) > LARGEST_BUNDLE:
            raise ValueError(f"more than {LARGEST_BUNDLE} bytes")
        said = json.loads(content)
        targets = _document(said["targets"], Targets)
        if not all("sha256" in file.hashes for file in targets.signed.targets.values()):
            raise ValueError("a release without its SHA-256")
        replaces = _root(said["replaces"]) if "replaces" in said else None
        return Bundle(_root(said["root"]), targets, replaces)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, RepositoryError, StorageError) as problem:
        raise BadDocument(f"this is not what `backfleet release pending` writes: {_why(problem)}") from None


def with_signers(bundle: Bundle, signers: Signers, *, now: datetime) -> Bundle:
    """The bundle with a next root, in which these signers' word counts; snapshot and timestamp stay the server's."""
    root = next_root(bundle.root.signed, signers, expires=now + ROOT_LIFE)
    return Bundle(Metadata(root), bundle.targets, replaces=bundle.root)


def next_root(before: Root, signers: Signers, *, expires: datetime) -> Root:
    """The root that follows. Made anew: nothing that the server wrote is signed with it, but the server's own keys."""
    root = Root(version=before.version + 1, expires=expires, consistent_snapshot=True)
    for role in ("snapshot", "timestamp"):
        for keyid in before.roles[role].keyids:
            root.add_key(before.keys[keyid], role)
    for key in signers.root:
        root.add_key(key, "root")
    root.add_key(signers.targets, "targets")
    root.roles["root"].threshold = signers.threshold
    return root


def sign(bundle: Bundle, keys: Sequence[Ed25519PrivateKey], *, root: bool = False) -> list[str]:
    """Add the signatures that these keys may give: the targets' one on what is offered; on the root only if so wished.

    The root is signed by keys that it names, and by those it replaces; by no other. Returns what was signed.
    """
    signed = []
    signing_root = {*bundle.root.signed.roles["root"].keyids}
    if bundle.replaces is not None:
        signing_root |= {*bundle.replaces.signed.roles["root"].keyids}
    for signer in map(CryptoSigner, keys):
        keyid = signer.public_key.keyid
        if keyid in bundle.root.signed.roles["targets"].keyids:
            bundle.targets.sign(signer, append=True)
            signed.append("targets")
        if root and keyid in signing_root:
            bundle.root.sign(signer, append=True)
            signed.append("root")
    return signed


def signatures(by: Root, role: str, document: Metadata[Any]) -> dict[str, Signature]:
    """Those that count, and nothing besides: the rest of what lies beside a signed part may be anybody's."""
    found = by.get_verification_result(role, document.signed_bytes, document.signatures)
    return {keyid: Signature(keyid, document.signatures[keyid].signature) for keyid in found.signed}


def still_counts(root: Root, key: Ed25519PrivateKey) -> bool:
    """Whether the root names this key for anything, under whatever id."""
    value = CryptoSigner(key).public_key.keyval
    return any(named.keyval == value for named in root.keys.values())


def _root(said: Any) -> Metadata[Root]:
    root = _document(said, Root)
    for role in root.signed.roles.values():
        if missing := set(role.keyids) - set(root.signed.keys):
            raise ValueError(f"a root without its keys {sorted(missing)}")
    return root


def _document(said: Any, kind: type[Of]) -> Metadata[Of]:
    found: Metadata[Any] = Metadata.from_bytes(json.dumps(said).encode())
    if not isinstance(found.signed, kind):
        raise ValueError("root and targets are mistaken for each other")
    return found


def _why(problem: Exception) -> str:
    """In a line, without control characters: it ends on somebody's terminal, and a stranger may have written it."""
    return ascii(f"{type(problem).__name__}: {problem}")[1:300].removesuffix("'")


def _told(key: Key) -> dict[str, Any]:
    return {"keyid": key.keyid, **key.to_dict()}


def _key(said: dict[str, Any]) -> Key:
    said = dict(said)
    return Key.from_dict(said.pop("keyid"), said)
