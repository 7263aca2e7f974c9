"""Accept metadata that was signed with keys kept elsewhere: checked against the root in force, then published."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from securesystemslib.signer import Signature
from tuf.api.metadata import Metadata, Root, Targets

from backfleet.releases import _store, signed_metadata
from backfleet.releases.errors import ReleaseRefused
from backfleet.releases.offline_signing import (
    CLOCKS_DIFFER,
    LEAST_ROOT_LIFE,
    ROOT_LIFE,
    BadDocument,
    Bundle,
    read_bundle,
    signatures,
)
from backfleet.releases.repository import Repository
from backfleet.storage import Transaction

_AGAIN = "run `backfleet release pending` again"


class NotSigned(ReleaseRefused):
    """The document lacks signatures, or something has changed since it was made; the text says what to do."""

    def __init__(self, text: str) -> None:
        super().__init__(text, "InvalidParameter.Signature")


def pending_signatures(tx: Transaction, repository: Repository, *, now: datetime) -> Bundle:
    """Return the root in force, and the targets to offer next, without a signature."""
    if not signed_metadata.exists(tx):
        signed_metadata.refresh(tx, repository, now=now)
    return Bundle(signed_metadata.read(tx, "root"), Metadata(signed_metadata.next_targets(tx, now)))


def accept_signatures(tx: Transaction, repository: Repository, content: bytes, *, now: datetime) -> list[str]:
    """Publish what others signed: the next root, if there is one, and the targets.

    A root that replaces this server's own is signed by this server too. From then on its keys for root and targets are
    no longer valid.

    Args:
        content: a bundle, as `pending_signatures` gave it, with signatures.

    Returns:
        The roles of which something new was published.

    Raises:
        NotSigned: there are too few signatures, another version than the next, or other content than what is pending.
        TooManyReleases: it is larger than hosts accept.
    """
    try:
        bundle = read_bundle(content)
    except BadDocument as problem:
        raise NotSigned(str(problem)) from None
    _store.lock(tx)
    if not signed_metadata.exists(tx):
        raise NotSigned("nothing waits for a signature yet: run `backfleet release pending` first")
    accepted = _accept_root(tx, repository, bundle.root, now)
    # The root that hosts verify with decides, never one that only came in the file.
    in_force = cast(Root, signed_metadata.read(tx, "root").signed)
    if in_force.expires <= now:
        raise NotSigned(
            f"root {in_force.version} ended on {in_force.expires:%Y-%m-%d}: sign a new root together with the targets"
        )
    _check_targets(signed_metadata.next_targets(tx, now), bundle.targets, now)
    signed_metadata.write(tx, _verified("targets", bundle.targets, {"the targets key": in_force}))
    signed_metadata.publish_snapshot(tx, repository, bundle.targets.signed.version, now)
    _store.note_published(tx, now)
    return [*accepted, "targets"]


def _accept_root(tx: Transaction, repository: Repository, root: Metadata[Root], now: datetime) -> list[str]:
    """Check and store the next root, if the bundle has one; return the roles that are new."""
    current: Metadata[Root] = signed_metadata.read(tx, "root")
    if root.signed.version == current.signed.version:
        if root.signed_bytes != current.signed_bytes:
            raise NotSigned(f"root {root.signed.version} in it is not the one in force: {_AGAIN}")
        return []
    _check_root(repository, current.signed, root.signed, now)
    own = repository.signer("root")
    if own.public_key.keyid in current.signed.roles["root"].keyids:
        root.sign(own, append=True)
    agreeing = {"those whom it replaces": current.signed, "those whom it names": root.signed}
    signed_metadata.write(tx, _verified("root", root, agreeing))
    return ["root"]


def _check_root(repository: Repository, current: Root, new: Root, now: datetime) -> None:
    """Raise NotSigned if hosts would refuse a root, signatures aside, or if it takes this server's daily keys away."""
    if new.version != current.version + 1 or not new.consistent_snapshot:
        raise NotSigned(f"root {new.version} cannot follow root {current.version}: {_AGAIN}")
    for role in ("snapshot", "timestamp"):
        if len(new.roles[role].keyids) != 1 or not signed_metadata.suffices(
            new, role, repository.signer(role).public_key
        ):
            raise NotSigned(f"the new root changes the {role} key, which must stay this server's own and the only one")
    if not now + LEAST_ROOT_LIFE <= new.expires <= now + ROOT_LIFE + CLOCKS_DIFFER:
        raise NotSigned(
            f"root {new.version} would end on {new.expires:%Y-%m-%d}, too soon or too late: check the clock of the "
            f"machine that made it, {_AGAIN}, and make a new one"
        )


def _check_targets(waiting: Targets, offered: Metadata[Targets], now: datetime) -> None:
    """Raise NotSigned if the targets are not exactly those that wait, or end when this server would not let them."""
    expires = offered.signed.expires
    waiting.expires = expires
    as_written: Metadata[Targets] = Metadata.from_bytes(Metadata(waiting).to_bytes())  # tuples become lists in a file
    if offered.signed != as_written.signed:
        raise NotSigned(f"what is offered has changed since it was signed: {_AGAIN}")
    if not now < expires <= now + signed_metadata.LIFETIMES["targets"]:
        raise NotSigned(f"the targets would end on {expires:%Y-%m-%d}, too soon or too late: {_AGAIN}")


def _verified(role: str, document: Metadata[Any], agreeing: Mapping[str, Root]) -> Metadata[Any]:
    """Return the document with its valid signatures and nothing else.

    Anybody may have added the rest, and a root that has grown too large stops hosts for good.
    """
    valid: dict[str, Signature] = {}
    for who, root in agreeing.items():
        found = signatures(root, role, document)
        if len(found) < root.roles[role].threshold:
            raise NotSigned(
                f"{role} lacks signatures of {who}: {root.roles[role].threshold} must agree, {len(found)} did; "
                "sign it with more of their keys"
            )
        valid |= found
    return Metadata(document.signed, valid)
