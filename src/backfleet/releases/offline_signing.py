"""Sign with keys that are never on the server: they decide which keys are valid (root) and what is released (targets).

The server writes what waits for signatures into a bundle, people sign it on machines of their own, and the server
checks and publishes it. So an attacker who takes over the server can neither release anything nor replace keys.
Source: TUF specification, sections 4.3, 4.5, 5.3 and 6.1.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.exceptions import StorageError
from securesystemslib.signer import CryptoSigner, Key, Signature
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets

from backfleet.values import value_object

MOST_KEYS: Final = 16  # for root
LARGEST_BUNDLE: Final = 10_000_000  # bytes; a few times what hosts accept
ROOT_LIFE: Final = timedelta(days=3650)
LEAST_ROOT_LIFE: Final = timedelta(days=30)  # a root that ends sooner leaves no time to sign the next
TARGETS_LIFE: Final = timedelta(days=365)
CLOCKS_DIFFER: Final = timedelta(days=1)  # at most, between the server and those who sign

Of = TypeVar("Of", Root, Targets)


class BadDocument(ValueError):
    """What is to be signed, or the list of signers, cannot be used; the text says why."""


@value_object
class Bundle:
    """The file that goes from the server to the signers and back: which keys are valid, and what is released.

    Without `replaces`, the root is the one in force. With it, the root is the next one, and `replaces` is in force.
    """

    root: Metadata[Root]
    targets: Metadata[Targets]
    replaces: Metadata[Root] | None = None

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        documents = {name: json.loads(document.to_bytes()) for name, document in self._parts().items()}
        return json.dumps(documents, indent=1, sort_keys=True).encode() + b"\n"

    def _parts(self) -> Mapping[str, Metadata[Any]]:
        parts: dict[str, Metadata[Any]] = {"root": self.root, "targets": self.targets}
        return parts if self.replaces is None else {**parts, "replaces": self.replaces}


@value_object
class Signers:
    """The public keys that are to be valid, and how many of the root keys must agree."""

    threshold: int
    root: Sequence[Key]
    targets: Key

    def to_bytes(self) -> bytes:
        """Return the content of signers.json. It holds nothing secret."""
        fields = {
            "threshold": self.threshold,
            "root": [_key_to_json(key) for key in self.root],
            "targets": _key_to_json(self.targets),
        }
        return json.dumps(fields, indent=1, sort_keys=True).encode() + b"\n"


def new_signers(count: int, threshold: int) -> tuple[Signers, dict[str, Ed25519PrivateKey]]:
    """Make keys; return their public halves, and the private ones by name.

    Args:
        count: how many root keys.
        threshold: how many of them must agree.

    Raises:
        BadDocument: there cannot be so many keys, or more must agree than there are.
    """
    if not 1 <= threshold <= count <= MOST_KEYS:
        raise BadDocument(f"of 1 to {MOST_KEYS} root keys, 1 to all must agree, not {threshold} of {count}")
    names = [*(f"root-{number}" for number in range(1, count + 1)), "targets"]
    made = {name: Ed25519PrivateKey.generate() for name in names}
    publics = [CryptoSigner(key).public_key for key in made.values()]
    return Signers(threshold, publics[:-1], publics[-1]), made


def read_signers(content: bytes) -> Signers:
    """Read signers.json.

    Raises:
        BadDocument: it is of another form, or more keys must agree than there are.
    """
    try:
        fields = json.loads(content)
        root = [_key(each) for each in fields["root"]]
        found = Signers(int(fields["threshold"]), root, _key(fields["targets"]))
        values = {key.keyval["public"] for key in root}  # by value: one key under two ids would count twice
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise BadDocument(f"this is not a signers.json of `backfleet release keys`: {_why(problem)}") from None
    if not 1 <= found.threshold <= len(values) == len(root) <= MOST_KEYS:
        raise BadDocument("signers.json wants more keys to agree than there are, or has one key twice")
    return found


def read_bundle(content: bytes) -> Bundle:
    """Read a bundle. Nothing in it has been verified.

    Raises:
        BadDocument: it is of another form, or too large.
    """
    try:
        if len(content) > LARGEST_BUNDLE:
            raise ValueError(f"more than {LARGEST_BUNDLE} bytes")
        documents = json.loads(content)
        targets = _document(documents["targets"], Targets)
        if not all("sha256" in file.hashes for file in targets.signed.targets.values()):
            raise ValueError("a release without its SHA-256")
        replaces = _root(documents["replaces"]) if "replaces" in documents else None
        return Bundle(_root(documents["root"]), targets, replaces)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, RepositoryError, StorageError) as problem:
        raise BadDocument(f"this is not what `backfleet release pending` writes: {_why(problem)}") from None


def with_signers(bundle: Bundle, signers: Signers, *, now: datetime) -> Bundle:
    """Return the bundle with a next root that names these signers; snapshot and timestamp stay the server's."""
    root = next_root(bundle.root.signed, signers, expires=now + ROOT_LIFE)
    return Bundle(Metadata(root), bundle.targets, replaces=bundle.root)


def next_root(before: Root, signers: Signers, *, expires: datetime) -> Root:
    """Return the root that follows. Of what the server wrote, only its own daily keys are taken over."""
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
    """Add the signatures that these keys may give.

    Args:
        root: whether to sign the root, too, with the keys that it names and with those that it replaces.

    Returns:
        The role of each signature that was added.
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
    """Return the valid signatures of a document by a root's keys. Anybody may have written the others."""
    found = by.get_verification_result(role, document.signed_bytes, document.signatures)
    return {keyid: Signature(keyid, document.signatures[keyid].signature) for keyid in found.signed}


def is_valid_key(root: Root, key: Ed25519PrivateKey) -> bool:
    """Return whether the root names this key for any role, under any id."""
    value = CryptoSigner(key).public_key.keyval
    return any(named.keyval == value for named in root.keys.values())


def _root(value: Any) -> Metadata[Root]:
    root = _document(value, Root)
    for role in root.signed.roles.values():
        if missing := set(role.keyids) - set(root.signed.keys):
            raise ValueError(f"a root without its keys {sorted(missing)}")
    return root


def _document(value: Any, kind: type[Of]) -> Metadata[Of]:
    found: Metadata[Any] = Metadata.from_bytes(json.dumps(value).encode())
    if not isinstance(found.signed, kind):
        raise ValueError("root and targets are mixed up")
    return found


def _why(problem: Exception) -> str:
    """Return an error's text in one line without control characters: somebody else may have written it."""
    return ascii(f"{type(problem).__name__}: {problem}")[1:300].removesuffix("'")


def _key_to_json(key: Key) -> dict[str, Any]:
    return {"keyid": key.keyid, **key.to_dict()}


def _key(value: dict[str, Any]) -> Key:
    fields = dict(value)
    return Key.from_dict(fields.pop("keyid"), fields)
