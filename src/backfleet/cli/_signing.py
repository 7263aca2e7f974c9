"""backfleet release keys, pending, sign, publish, forget-keys: release signatures by offline keys.

`keys` and `sign` call no server: they are for a machine that is offline.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backfleet.cli._client import Client
from backfleet.cli._options import WholeNumber, calls_the_api, fail, json_option
from backfleet.cli._print import print_json, say
from backfleet_host.files import make_folder, write_file

if TYPE_CHECKING:
    from backfleet.releases.offline_signing import Bundle, Signers

SIGNERS, SIGNED = "signers.json", "signed.json"
OWN_KEYS = ("release-root.key", "release-targets.key")
_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("folder", type=_FOLDER)
@click.option(
    "--root", "count", type=WholeNumber(1, 16), default=3, show_default=True, help="How many root keys to make."
)
@click.option("--threshold", type=WholeNumber(1, 16), default=2, show_default=True, help="How many of them must sign.")
@json_option
def keys(folder: Path, count: int, threshold: int, as_json: bool) -> None:
    """Make offline keys for root and targets in FOLDER. Run it on a machine apart from the server."""
    from cryptography.hazmat.primitives import serialization

    from backfleet.releases.offline_signing import BadDocument, new_signers

    if (folder / SIGNERS).exists() or any(folder.glob("*.key")):
        fail(f"{folder} has keys already; choose another folder")
    try:
        signers, made = new_signers(count, threshold)
        make_folder(folder)
        for name, key in made.items():
            pem = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            write_file(folder / f"{name}.key", pem)
        write_file(folder / SIGNERS, signers.to_bytes())  # last: it shows that the folder is complete
    except BadDocument as problem:
        fail(str(problem))
    except OSError as problem:
        fail(f"{folder} cannot be written: {problem.strerror}")
    if as_json:
        print_json({"Folder": str(folder), "RootKeys": count, "Threshold": threshold})
        return
    say(f"{count} root keys, of which {threshold} must sign, and a targets key are in {folder}.")
    say(f"Give each root key to another person, with {SIGNERS}, and keep copies: with fewer than {threshold} of them")
    say("the root keys can no longer be replaced, and every host must be enrolled again.")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@json_option
@calls_the_api
def pending(client: Client, file: Path, as_json: bool) -> None:
    """Write the metadata that waits for signatures to FILE."""
    answer = client.call("backfleet", "GetPendingSignatures")
    try:
        write_file(file, answer["Document"].encode())
    except OSError as problem:
        fail(f"{file} cannot be written: {problem.strerror}")
    if as_json:
        print_json({"File": str(file), "HoldsTargetsKey": answer["HoldsTargetsKey"]})
        return
    own = " This server still signs releases by itself." if answer["HoldsTargetsKey"] else ""
    say(f"{file}: to be signed with `backfleet release sign {file} --keys FOLDER`.{own}")


@click.command()
@click.argument("file", type=_FILE)
@click.option("--keys", "folder", type=_FOLDER, required=True, help="The folder that `backfleet release keys` made.")
@click.option("--take-over", is_flag=True, help="Replace the current keys by those in FOLDER.")
@click.option(
    "--hand-over", type=_FILE, metavar="SIGNERS", help="Replace the current keys by those in this signers.json."
)
@click.option("--look", "only_show", is_flag=True, help="Show and check only; sign nothing.")
@json_option
def sign(file: Path, folder: Path, take_over: bool, hand_over: Path | None, only_show: bool, as_json: bool) -> None:
    """Sign FILE with the keys in FOLDER. Calls no server.

    Shows first what is signed. The keys that count change only with --take-over or --hand-over.
    """
    from backfleet.releases import offline_signing

    if take_over and hand_over:
        fail("--take-over and --hand-over exclude each other; choose one")
    changes: list[str] = []
    signed: list[str] = []
    try:
        signers = offline_signing.read_signers((folder / SIGNERS).read_bytes())
        successors = (
            signers if take_over else offline_signing.read_signers(hand_over.read_bytes()) if hand_over else None
        )
        found = offline_signing.read_bundle(file.read_bytes())
        show = changes.append if as_json else say
        bundle = _checked(found, signers, successors, _remembered(folder), datetime.now(UTC), show)
        if not only_show:
            signed = _sign(bundle, file, folder, with_root=successors is not None)
    except (offline_signing.BadDocument, ValueError) as problem:
        fail(str(problem))
    except OSError as problem:
        fail(f"{problem.filename} cannot be used: {problem.strerror}")
    if as_json:
        print_json({"File": str(file), "Changes": changes, "Signed": signed, "State": _state(bundle)})
    elif signed:
        say(f"{file}: signed {' and '.join(signed)}; {_state(bundle)}")


def _sign(bundle: "Bundle", file: Path, folder: Path, *, with_root: bool) -> list[str]:
    """Sign with every key in a folder that may, and write down what was signed; return which documents were."""
    from backfleet.releases import offline_signing

    signed = offline_signing.sign(bundle, [_key(path) for path in sorted(folder.glob("*.key"))], root=with_root)
    if not signed:
        fail(f"no key in {folder} may sign this; a root is signed with --take-over or --hand-over only")
    write_file(file, bundle.to_bytes())
    write_file(folder / SIGNED, bundle.to_bytes())
    return sorted(set(signed))


@click.command()
@click.argument("file", type=_FILE)
@json_option
@calls_the_api
def publish(client: Client, file: Path, as_json: bool) -> None:
    """Send the signed FILE to the server. Hosts accept its releases from then on."""
    answer = client.upload("PublishSignatures", file, lambda sent: None)
    if as_json:
        print_json(answer)
        return
    say(f"published: {', '.join(answer['Published'])}")
    if "root" in answer["Published"]:
        say("note: the keys that the new root replaces no longer count, but can still deceive hosts that have")
        say("not fetched the new root yet. `backfleet release forget-keys DATA`, on the server's machine, removes")
        say("the server's own keys; remove them from backups of its data folder, too")


@click.command(name="forget-keys")
@click.argument("folder", metavar="DATA", type=click.Path(exists=True, file_okay=False, path_type=Path))
@json_option
@calls_the_api
def forget_keys(client: Client, folder: Path, as_json: bool) -> None:
    """Remove the server's root and targets keys from its DATA folder, after others have taken over.

    If one of them still counts, nothing is removed.
    """
    from backfleet.releases.offline_signing import BadDocument, is_valid_key, read_bundle

    try:
        root = read_bundle(client.call("backfleet", "GetPendingSignatures")["Document"].encode()).root.signed
        files = [path for name in OWN_KEYS if (path := folder / "keys" / name).exists()]
        if counting := [path.name for path in files if is_valid_key(root, _key(path))]:
            fail(f"root {root.version} still names {' and '.join(counting)}; sign with --take-over first")
        for path in files:
            path.unlink()
    except (BadDocument, ValueError) as problem:
        fail(str(problem))
    except OSError as problem:
        fail(f"{problem.filename} cannot be removed: {problem.strerror}")
    if as_json:
        print_json({"Folder": str(folder), "Removed": [path.name for path in files]})
        return
    if not files:
        say(f"{folder}: there are no such keys")
        return
    say(f"removed from {folder}: {' and '.join(path.name for path in files)}")
    say("Restart the server, which still has them in memory. It makes new ones, which no root names. Do the same")
    say("wherever this data folder was copied to, and remove them from its backups.")


def _checked(
    bundle: "Bundle",
    signers: "Signers",
    successors: "Signers | None",
    remembered: "Bundle | None",
    now: datetime,
    show: Callable[[str], None],
) -> "Bundle":
    """Show what is to be signed, check it, and return it. A refusal is understood by what was shown.

    Raises:
        BadDocument: it must not be signed.
    """
    from backfleet.releases import review
    from backfleet.releases.offline_signing import with_signers

    if successors is not None and bundle.replaces is None:
        bundle = with_signers(bundle, successors, now=now)
    known = remembered.root if remembered else bundle.replaces
    offered = bundle.targets.signed
    for line in (
        *review.root_changes(known.signed if known else None, bundle.root.signed),
        *review.offer_changes(remembered.targets.signed if remembered else None, offered),
    ):
        show(line)
    show(f"{len(offered.targets)} release(s) are signed for; compare the new ones with what you built")
    review.check_offer(offered, now=now)
    if successors is None:
        review.check_current_root(bundle.root, signers, remembered, now=now)
    else:
        review.check_next_root(bundle, successors, remembered, now=now)
    return bundle


def _state(bundle: "Bundle") -> str:
    """Return how many valid signatures there are and how many are needed."""
    from backfleet.releases.offline_signing import signatures

    root, targets = bundle.root.signed, bundle.targets
    have = len(signatures(root, "root", bundle.root))
    text = f"root {root.version} has {have} of {root.roles['root'].threshold} signatures"
    if bundle.replaces is not None:
        old = bundle.replaces.signed
        theirs = len(signatures(old, "root", bundle.root))
        text += f" and {theirs} of {old.roles['root'].threshold} of those it replaces (the server adds its own)"
    return f"{text}, the targets {len(signatures(root, 'targets', targets))} of {root.roles['targets'].threshold}"


def _remembered(folder: Path) -> "Bundle | None":
    """Return what was signed here last; None if nothing was. A file that cannot be read is an error."""
    from backfleet.releases.offline_signing import BadDocument, read_bundle

    try:
        return read_bundle((folder / SIGNED).read_bytes())
    except FileNotFoundError:
        return None
    except BadDocument:
        raise BadDocument(
            f"{folder / SIGNED} cannot be read; restore it from a copy, or remove it and compare every release"
        ) from None


def _key(file: Path) -> Any:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if file.stat().st_mode & 0o077:
        say(f"note: others can read {file}; run chmod 600 {file} if this file system supports it", err=True)
    try:
        found = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (ValueError, TypeError):
        found = None
    if not isinstance(found, Ed25519PrivateKey):
        raise ValueError(f"{file} is not a key that `backfleet release keys` made")
    return found
