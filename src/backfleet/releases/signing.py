"""Taking what was signed elsewhere: checked against the root in force before anything of it is written."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from securesystemslib.signer import Signature
from tuf.api.metadata import Metadata, Root, Targets

from backfleet.releases import _store, trust
from backfleet.releases.offline import (
    CLOCKS_DIFFER,
    LEAST_ROOT_LIFE,
    ROOT_LIFE,
    BadDocument,
    Bundle,
    read_bundle,
    signatures,
)
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
    if not trust.is_there(tx):
        raise NotSigned("nothing waits for a signature yet: get what is pending first")
    taken = _take_root(tx, repository, bundle.root, now)
    # What hosts go by, never what came with the targets: whoever wrote the file chose that.
    in_force = cast(Root, trust.read(tx, "root").signed)
    if in_force.expires <= now:
        raise NotSigned(f"root {in_force.version} ended on {in_force.expires:%Y-%m-%d}: sign a new one with it")
    _check_targets(trust.next_targets(tx, now), bundle.targets, now)
    trust.write(tx, _verified("targets", bundle.targets, {"the targets key": in_force}))
    trust.publish_snapshot(tx, repository, bundle.targets.signed.version, now)
    _store.note_published(tx, now)
    return [*taken, "targets"]


def _take_root(tx: Transaction, repository: Repository, root: Metadata[Root], now: datetime) -> list[str]:
    """The root in force again, or the next one."""
    current: Metadata[Root] = trust.read(tx, "root")
    if root.signed.version == current.signed.version:
        if root.signed_bytes != current.signed_bytes:
            raise NotSigned(f"root {root.signed.version} in it is not the one in force: get what is pending again")
        return []
    _check_root(repository, current.signed, root.signed, now)
    own = repository.signer("root")
    if own.public_key.keyid in current.signed.roles["root"].keyids:
        root.sign(own, append=True)
    agreeing = {"those whom it replaces": current.signed, "those whom it names": root.signed}
    trust.write(tx, _verified("root", root, agreeing))
    return ["root"]


def _check_root(repository: Repository, current: Root, new: Root, now: datetime) -> None:
    """What a host asks of it, signatures aside, and that it leaves us the keys that we need every day."""
    if new.version != current.version + 1 or not new.consistent_snapshot:
        raise NotSigned(f"root {new.version} cannot follow root {current.version}: get what is pending again")
    for role in ("snapshot", "timestamp"):
        if len(new.roles[role].keyids) != 1 or not trust.suffices(new, role, repository.signer(role).public_key):
            raise NotSigned(f"the {role} key must stay this server's own, and alone")
    if not now + LEAST_ROOT_LIFE <= new.expires <= now + ROOT_LIFE + CLOCKS_DIFFER:
        raise NotSigned(
            f"root {new.version} would end on {new.expires:%Y-%m-%d}, too soon or too late: look at the clock of the "
            "machine that made it, get what is pending again, and agree on a new one"
        )


def _check_targets(waiting: Targets, offered: Metadata[Targets], now: datetime) -> None:
    """Exactly what waits, and an end that we would have chosen."""
    expires = offered.signed.expires
    waiting.expires = expires
    as_written: Metadata[Targets] = Metadata.from_bytes(Metadata(waiting).to_bytes())  # tuples become lists in a file
    if offered.signed != as_written.signed:
        raise NotSigned("what is offered has changed since: get what is pending again")
    if not now < expires <= now + trust.LIFE["targets"]:
        raise NotSigned("it would expire too soon or too late: get what is pending again")


def _verified(role: str, document: Metadata[Any], agreeing: Mapping[str, Root]) -> Metadata[Any]:
    """The document with the signatures that count and nothing else: what is not signed, anybody may have added.

    Hosts take no root above a certain size, and never come past one that they cannot take.
    """
    kept: dict[str, Signature] = {}
    for who, root in agreeing.items():
        theirs = signatures(root, role, document)
        if len(theirs) < root.roles[role].threshold:
            raise NotSigned(f"{role} lacks signatures of {who}: {root.roles[role].threshold} must agree")
        kept |= theirs
    return Metadata(document.signed, kept)
