"""Review what is to be signed: show what would change, and refuse what no key must sign.

An attacker who controls the server can write what is pending, so nothing in it is trusted. Keys are compared by their
values: the format lets any key have any id.
"""

import json
from datetime import datetime
from typing import Any

from securesystemslib.signer import Key
from tuf.api.metadata import Metadata, Root, TargetFile, Targets

from backfleet.releases.offline_signing import (
    CLOCKS_DIFFER,
    LEAST_ROOT_LIFE,
    ROOT_LIFE,
    TARGETS_LIFE,
    BadDocument,
    Bundle,
    Signers,
    next_root,
    signatures,
)
from backfleet.releases.signed_metadata import EMBEDDED


def check_offer(targets: Targets, *, now: datetime) -> None:
    """Check that the targets are what an unchanged server writes: releases by their hash, no delegation, a year.

    Raises:
        BadDocument: they are something else, or this machine's clock is wrong.
    """
    if targets.delegations is not None:
        raise BadDocument(
            "the targets let other keys sign releases (delegations), which this server never does; do not sign them"
        )
    if targets.unrecognized_fields or not all(map(_is_plain, targets.targets.values())):
        raise BadDocument(
            "the targets have fields that this program does not know; use the program in the server's version to sign"
        )
    if not now < targets.expires <= now + TARGETS_LIFE + CLOCKS_DIFFER:
        raise BadDocument(
            f"what is offered ends on {targets.expires:%Y-%m-%d}, at most a year after it was written, and this "
            f"machine's clock says {now:%Y-%m-%d}: set the clock if it is wrong, else run "
            "`backfleet release pending` again"
        )


def check_current_root(root: Metadata[Root], signers: Signers, remembered: Bundle | None, *, now: datetime) -> None:
    """Check that a root that is not to be changed names the keys in signers.json and no others.

    Raises:
        BadDocument: it names others; an attacker on the server may have put it there.
    """
    current = root.signed
    expected = {"root": _by_id(signers.root, signers.threshold), "targets": _by_id([signers.targets], 1)}
    if any(_keys_and_threshold(current, role) != keys for role, keys in expected.items()):
        raise BadDocument(
            f"root {current.version} names other keys than signers.json; nothing was signed. "
            "Use --take-over to make the keys in the folder the valid ones"
        )
    _check_known(root, remembered)
    if current.expires <= now:
        raise BadDocument(
            f"root {current.version} ended on {current.expires:%Y-%m-%d}: make the next one with --take-over"
        )


def check_next_root(bundle: Bundle, signers: Signers, remembered: Bundle | None, *, now: datetime) -> None:
    """Check that the next root is the one that these signers would make, in every field.

    Raises:
        BadDocument: it is another, it follows one that this folder does not know, or it ends too soon or too late.
    """
    new, before = bundle.root.signed, bundle.replaces
    if before is None:
        raise BadDocument("there is no new root in the file")
    expected = next_root(before.signed, signers, expires=new.expires)
    expected.spec_version = new.spec_version  # of the library with which the first signer made it
    if new != expected:
        raise BadDocument(
            f"root {new.version} in it is not the one that these signers.json make; nothing was signed. "
            "Run `backfleet release pending` again, and compare signers.json with those of the other signers"
        )
    _check_known(before, remembered, new)
    if not now + LEAST_ROOT_LIFE <= new.expires <= now + ROOT_LIFE + CLOCKS_DIFFER:
        raise BadDocument(
            f"root {new.version} would end on {new.expires:%Y-%m-%d}, too soon or too late, and this machine's clock "
            f"says {now:%Y-%m-%d}: set the clock if it is wrong, else run `backfleet release pending` again"
        )


def root_changes(before: Root | None, after: Root) -> list[str]:
    """Return a line for each key that becomes valid or invalid; an empty list if nothing changes."""
    lines = []
    for role in ("root", "targets", "snapshot", "timestamp"):
        old, new = _keys_of(before, role), _keys_of(after, role)
        lines += [f"{_mark(old, new, id)} {role} key {id}" for id in sorted({*old, *new}) if old.get(id) != new.get(id)]
        was, becomes = _threshold(before, role), f"{after.roles[role].threshold} of {len(new)}"
        if was not in ("", becomes):
            lines.append(f"! {role}: {was} had to agree, now {becomes}")
    if lines or before != after:
        lines.append(
            f"! root {f'{before.version} -> ' if before else ''}{after.version}, ends {after.expires:%Y-%m-%d}"
        )
    return [_plain(line) for line in lines]


def offer_changes(before: Targets | None, after: Targets) -> list[str]:
    """Return lines for each release that changes: its bytes by their hash, and what hosts do with them."""
    old, new = before.targets if before else {}, after.targets
    lines = []
    for path in sorted({*old, *new}):
        if old.get(path) != new.get(path):
            lines.append(f"{_mark(old, new, path)} {path}  sha256 {(new.get(path) or old[path]).hashes['sha256']}")
            lines += [f"    {line}" for line in _described(old.get(path), new.get(path))]
    return [_plain(line) for line in lines]


def _check_known(root: Metadata[Root], remembered: Bundle | None, after: Root | None = None) -> None:
    """Raise BadDocument unless a root was seen here before, or follows such a root as hosts demand."""
    if remembered is None:
        return
    seen = [known for known in (remembered.root, remembered.replaces) if known is not None]
    if any(known.signed_bytes == root.signed_bytes or _follows(known.signed, root) for known in seen):
        return
    what = (
        f"root {root.signed.version}, which root {after.version} would replace,"
        if after
        else f"root {root.signed.version}"
    )
    raise BadDocument(
        f"{what} is not the one this folder knows, and its signers did not agree to it; nothing was signed. Ask the "
        "other signers. If it is right all the same, remove signed.json from the folder and try again"
    )


def _follows(known: Root, root: Metadata[Root]) -> bool:
    enough = all(len(signatures(by, "root", root)) >= by.roles["root"].threshold for by in (known, root.signed))
    return root.signed.version == known.version + 1 and enough


def _is_plain(file: TargetFile) -> bool:
    custom = file.custom
    return (
        set(file.hashes) == {"sha256"}
        and set(file.unrecognized_fields) <= {"custom"}
        and isinstance(custom, dict)
        and set(custom) == {EMBEDDED}
        and isinstance(custom[EMBEDDED], dict)
    )


def _described(old: TargetFile | None, new: TargetFile | None) -> list[str]:
    """Describe a manifest's changes: it holds commands that hosts run, so it matters as much as the bytes."""
    if new is None:
        return []
    now = _manifest(new)
    if old is None:
        return [_json({name: value for name, value in now.items() if value})]
    was = _manifest(old)
    differing = [name for name in sorted({*was, *now}) if was.get(name) != now.get(name)]
    lines = [f"{name}: {_json(was.get(name))} -> {_json(now.get(name))}" for name in differing]
    if old.hashes != new.hashes:
        lines.insert(0, f"sha256 was {old.hashes['sha256']}")
    return lines


def _manifest(file: TargetFile) -> dict[str, Any]:
    custom = file.custom
    found = custom.get(EMBEDDED) if isinstance(custom, dict) else None
    return found if isinstance(found, dict) else {}


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _by_id(keys: Any, threshold: int) -> tuple[dict[str, Key], int]:
    return {key.keyid: key for key in keys}, threshold


def _keys_and_threshold(root: Root, role: str) -> tuple[dict[str, Key], int]:
    return _keys_of(root, role), root.roles[role].threshold


def _keys_of(root: Root | None, role: str) -> dict[str, Key]:
    return {} if root is None else {keyid: root.keys[keyid] for keyid in root.roles[role].keyids}


def _threshold(root: Root | None, role: str) -> str:
    return "" if root is None else f"{root.roles[role].threshold} of {len(root.roles[role].keyids)}"


def _mark(old: Any, new: Any, name: str) -> str:
    return "-" if name not in new else "+" if name not in old else "!"


def _plain(line: str) -> str:
    """Return a line without control characters: a path must not hide another line on the reviewer's terminal."""
    return "".join(sign if " " <= sign <= "~" else sign.encode("unicode_escape").decode() for sign in line)
