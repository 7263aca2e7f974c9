"""Taking what was signed elsewhere: checked against the root in force before anything of it is written."""

from datetime import datetime
from typing import Any

from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata, Root, Targets

from backfleet.releases import _store, trust
from backfleet.releases.offline import BadDocument, Bundle, read_bundle
from backfleet.releases.refusal import ReleaseRefused
from backfleet.releases.repository import Repository
from backfleet.storage import Transaction


class NotSigned(ReleaseRefused):
    """It lacks signatures, or was signed for another state of things; the text says which and what to do."""

    def __init__(self, text: str) -> None:
        super().__init__(text, "InvalidParameter.Signature")


def pending(tx: Transaction, repository: Repository, *, now: datetime) -> Bundle:
    """The root in force, and what would be offered next, without a signature."""
    if not trust.is_there(tx):
        trust.refresh(tx, repository, now=now)
    return Bundle(trust.read(tx, "root"), Metadata(trust.next_targets(tx, now)))


def take(tx: Transaction, repository: Repository, content: bytes, *, now: datetime) -> list[str]:
    """Publish what others signed: a next root, if there is one, and what is offered. Returns what is new.

    A root that replaces our own is signed by us too, here: from then on our keys for root and targets count no more.

    Raises:
        NotSigned: too few signatures, another version than the next, other contents than what waits.
        TooManyReleases: it is larger than hosts take.
    """
    try:
        bundle = read_bundle(content)
    except BadDocument as problem:
        raise NotSigned(str(problem)) from None
    _store.lock(tx)
    current = trust.read(tx, "root")
    taken = []
    if bundle.root.signed.version != current.signed.version:
        _check_root(repository, current, bundle.root)
        trust.write(tx, bundle.root)
        taken.append("root")
    _check_targets(trust.next_targets(tx, now), bundle, now)
    trust.write(tx, bundle.targets)
    trust.publish_snapshot(tx, repository, bundle.targets.signed.version, now)
    _store.note_published(tx, now)
    return [*taken, "targets"]


def _check_root(repository: Repository, current: Metadata[Root], new: Metadata[Root]) -> None:
    """As a host will: one version further, and enough of the old signers and of the new agree."""
    signed = new.signed
    if signed.version != current.signed.version + 1 or not signed.consistent_snapshot:
        raise NotSigned(f"root {signed.version} cannot follow root {current.signed.version}: get what is pending again")
    for role in ("snapshot", "timestamp"):
        if (
            repository.signer(role).public_key.keyid not in signed.roles[role].keyids
            or signed.roles[role].threshold != 1
        ):
            raise NotSigned(f"the {role} key must stay this server's own")
    own = repository.signer("root")
    if own.public_key.keyid in current.signed.roles["root"].keyids:
        new.sign(own, append=True)
    _verify(current.signed, "root", new, "those whom it replaces")
    _verify(signed, "root", new, "those whom it names")


def _check_targets(waiting: Targets, bundle: Bundle, now: datetime) -> None:
    signed = bundle.targets.signed
    as_written = Metadata(waiting).to_bytes()  # on its way through a file tuples became lists
    offered = Metadata[Targets].from_bytes(as_written).signed.targets
    if signed.version != waiting.version or signed.targets != offered or signed.delegations is not None:
        raise NotSigned("what is offered has changed since: get what is pending again")
    if not now < signed.expires <= now + trust.LIFE["targets"]:
        raise NotSigned("it would expire too soon or too late: get what is pending again")
    _verify(bundle.root.signed, "targets", bundle.targets, "the targets key")


def _verify(root: Root, role: str, document: Metadata[Any], who: str) -> None:
    try:
        root.verify_delegate(role, document.signed_bytes, document.signatures)
    except UnsignedMetadataError:
        wanted = root.roles[role].threshold
        raise NotSigned(f"{role} lacks signatures of {who}: {wanted} must agree") from None
