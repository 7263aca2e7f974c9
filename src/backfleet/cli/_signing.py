"""backfleet release keys, pending, sign, publish, forget-keys: signatures by keys that never meet the server.

`keys` and `sign` speak to no server: they are for a machine of one's own.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backfleet.cli._client import Client
from backfleet.cli._options import calls_the_api, fail
from backfleet_host.files import make_folder, write_file

if TYPE_CHECKING:
    from backfleet.releases.offline_signing import Bundle, Signers

SIGNERS, SIGNED = "signers.json", "signed.json"
OWN_KEYS = ("release-root.key", "release-targets.key")
_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("folder", type=_FOLDER)
@click.option("--root", "count", type=click.IntRange(1, 16), default=3, show_default=True, help="Root keys to make.")
@click.option("--threshold", type=click.IntRange(1, 16), default=2, show_default=True, help="How many must agree.")
def keys(folder: Path, count: int, threshold: int) -> None:
    """Make keys in FOLDER for root and targets: on a machine that never meets the server."""
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
        write_file(folder / SIGNERS, signers.to_bytes())  # last: with it the folder is whole
    except BadDocument as problem:
        fail(str(problem))
    except OSError as problem:
        fail(f"{folder} cannot be written: {problem.strerror}")
    click.echo(
        f"{count} root keys, of which {threshold} must agree, and a targets key are in {folder}.\n"
        f"Give each root key to another person, with {SIGNERS}; keep copies: without {threshold} of them nobody can\n"
        "ever say again whose word counts, and every host must be enrolled anew."
    )


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@calls_the_api
def pending(client: Client, file: Path) -> None:
    """Write what waits for signatures to FILE."""
    answer = client.call("backfleet", "GetPendingSignatures")
    try:
        write_file(file, answer["Document"].encode())
    except OSError as problem:
        fail(f"{file} cannot be written: {problem.strerror}")
    own = " This server still signs releases by itself." if answer["HoldsTargetsKey"] else ""
    click.echo(f"{file}: to be signed with `backfleet release sign {file} --keys FOLDER`.{own}")


@click.command()
@click.argument("file", type=_FILE)
@click.option("--keys", "folder", type=_FOLDER, required=True, help="What `backfleet release keys` made.")
@click.option("--take-over", is_flag=True, help="Let the keys in FOLDER count from now on, instead of those before.")
@click.option(
    "--hand-over", type=_FILE, metavar="SIGNERS", help="Let the keys in another's signers.json count instead."
)
@click.option("--look", is_flag=True, help="Show and check, and sign nothing.")
def sign(file: Path, folder: Path, take_over: bool, hand_over: Path | None, look: bool) -> None:
    """Sign FILE with the keys in FOLDER; speaks to no server.

    Shows first what the signature vouches for. Who may sign changes only with --take-over or --hand-over.
    """
    from backfleet.releases import offline_signing

    if take_over and hand_over:
        fail("--take-over lets these keys count, --hand-over those of others: choose one")
    try:
        signers = offline_signing.read_signers((folder / SIGNERS).read_bytes())
        heirs = signers if take_over else offline_signing.read_signers(hand_over.read_bytes()) if hand_over else None
        bundle = _judged(
            offline_signing.read_bundle(file.read_bytes()), signers, heirs, _remembered(folder), datetime.now(UTC)
        )
        if look:
            return
        signed = offline_signing.sign(
            bundle, [_key(path) for path in sorted(folder.glob("*.key"))], root=heirs is not None
        )
        if not signed:
            fail(f"no key in {folder} may sign this; a root is signed with --take-over or --hand-over only")
        write_file(file, bundle.to_bytes())
        write_file(folder / SIGNED, bundle.to_bytes())
    except (offline_signing.BadDocument, ValueError) as problem:
        fail(str(problem))
    except OSError as problem:
        fail(f"{problem.filename} cannot be used: {problem.strerror}")
    click.echo(f"{file}: signed {' and '.join(sorted(set(signed)))}; {_state(bundle)}")


@click.command()
@click.argument("file", type=_FILE)
@calls_the_api
def publish(client: Client, file: Path) -> None:
    """Bring FILE, signed, back to the server; hosts believe it from then on."""
    answer = client.upload("PublishSignatures", file, lambda sent: None)
    click.echo(f"published: {', '.join(answer['Published'])}")
    if "root" in answer["Published"]:
        click.echo(
            "note: keys that the new root does not name count for nothing, but whoever gets hold of the old ones can\n"
            "fool hosts that have not heard of it yet. `backfleet release forget-keys DATA`, on the server's machine,\n"
            "removes the server's own; remove them from backups of its data folder too"
        )


@click.command(name="forget-keys")
@click.argument("folder", metavar="DATA", type=click.Path(exists=True, file_okay=False, path_type=Path))
@calls_the_api
def forget_keys(client: Client, folder: Path) -> None:
    """Remove the server's root and targets keys from its DATA folder, once others have taken over.

    Keys that still count stay: then nothing is removed.
    """
    from backfleet.releases.offline_signing import BadDocument, is_valid_key, read_bundle

    try:
        root = read_bundle(client.call("backfleet", "GetPendingSignatures")["Document"].encode()).root.signed
        files = [path for name in OWN_KEYS if (path := folder / "keys" / name).exists()]
        if counting := [path.name for path in files if is_valid_key(root, _key(path))]:
            fail(f"root {root.version} names {' and '.join(counting)}: take over first, or those keys stay")
        for path in files:
            path.unlink()
    except (BadDocument, ValueError) as problem:
        fail(str(problem))
    except OSError as problem:
        fail(f"{problem.filename} cannot be removed: {problem.strerror}")
    if not files:
        click.echo(f"{folder}: there are none")
        return
    click.echo(
        f"removed from {folder}: {' and '.join(path.name for path in files)}\n"
        "Restart the server, which still has them in memory; it makes new ones, which no root names. Do the same\n"
        "wherever this data folder was copied to, and remove them from its backups."
    )


def _judged(
    bundle: "Bundle", signers: "Signers", heirs: "Signers | None", remembered: "Bundle | None", now: datetime
) -> "Bundle":
    """What is to be signed: shown, then checked, for a refusal is understood by what was shown.

    Raises:
        BadDocument: no key signs that.
    """
    from backfleet.releases import review
    from backfleet.releases.offline_signing import with_signers

    if heirs is not None and bundle.replaces is None:
        bundle = with_signers(bundle, heirs, now=now)
    known = remembered.root if remembered else bundle.replaces
    offered = bundle.targets.signed
    for line in (
        *review.root_changes(known.signed if known else None, bundle.root.signed),
        *review.offer_changes(remembered.targets.signed if remembered else None, offered),
    ):
        click.echo(line)
    click.echo(f"{len(offered.targets)} release(s) are vouched for; compare what is new with what you built")
    review.check_offer(offered, now=now)
    if heirs is None:
        review.check_current_root(bundle.root, signers, remembered, now=now)
    else:
        review.check_next_root(bundle, heirs, remembered, now=now)
    return bundle


def _state(bundle: "Bundle") -> str:
    """How many have signed, and how many must: signatures that hold, not those that are there."""
    from backfleet.releases.offline_signing import signatures

    root, targets = bundle.root.signed, bundle.targets
    have = len(signatures(root, "root", bundle.root))
    told = f"root {root.version} has {have} of {root.roles['root'].threshold} signatures"
    if bundle.replaces is not None:
        old = bundle.replaces.signed
        theirs = len(signatures(old, "root", bundle.root))
        told += f" and {theirs} of {old.roles['root'].threshold} of those it replaces (the server adds its own)"
    return f"{told}, the targets {len(signatures(root, 'targets', targets))} of {root.roles['targets'].threshold}"


def _remembered(folder: Path) -> "Bundle | None":
    """What was signed here last. Not to be read is not the same as never: somebody may have broken it."""
    from backfleet.releases.offline_signing import BadDocument, read_bundle

    try:
        return read_bundle((folder / SIGNED).read_bytes())
    except FileNotFoundError:
        return None
    except BadDocument:
        raise BadDocument(
            f"{folder / SIGNED} cannot be read; take it from a copy, or remove it and compare all"
        ) from None


def _key(file: Path) -> Any:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if file.stat().st_mode & 0o077:
        click.echo(f"note: others can read {file}; chmod 600 it, if this file system can", err=True)
    try:
        found = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (ValueError, TypeError):
        found = None
    if not isinstance(found, Ed25519PrivateKey):
        raise ValueError(f"{file} is not a key that `backfleet release keys` made")
    return found
