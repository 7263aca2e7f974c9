"""backfleet release keys, pending, sign, publish: signatures by keys that never meet the server.

`keys` and `sign` speak to no server: they are for a machine of one's own.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backfleet.cli._client import Client
from backfleet.cli._options import calls_the_api, fail

if TYPE_CHECKING:
    from backfleet.releases.offline import Bundle

SIGNERS, SIGNED = "signers.json", "signed.json"
_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("folder", type=_FOLDER)
@click.option("--root", "count", type=click.IntRange(1, 16), default=3, show_default=True, help="Root keys to make.")
@click.option("--threshold", type=click.IntRange(1, 16), default=2, show_default=True, help="How many must agree.")
def keys(folder: Path, count: int, threshold: int) -> None:
    """Make keys in FOLDER for root and targets: on a machine that never meets the server."""
    from cryptography.hazmat.primitives import serialization

    from backfleet.releases.offline import BadDocument, new_signers

    if (folder / SIGNERS).exists():
        fail(f"{folder} has keys already; choose another folder")
    try:
        signers, made = new_signers(count, threshold)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, key in made.items():
            pem = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            _write(folder / f"{name}.key", pem)
        _write(folder / SIGNERS, signers.to_bytes())  # last: with it the folder is whole
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
        _write(file, answer["Document"].encode())
    except OSError as problem:
        fail(f"{file} cannot be written: {problem.strerror}")
    own = " This server still signs releases by itself." if answer["HoldsTargetsKey"] else ""
    click.echo(f"{file}: to be signed with `backfleet release sign {file} --keys FOLDER`.{own}")


@click.command()
@click.argument("file", type=_FILE)
@click.option("--keys", "folder", type=_FOLDER, required=True, help="What `backfleet release keys` made.")
@click.option("--take-over", is_flag=True, help="Let the keys in FOLDER count from now on, instead of those before.")
def sign(file: Path, folder: Path, take_over: bool) -> None:
    """Sign FILE with the keys in FOLDER; speaks to no server. Shows what the signature vouches for."""
    from backfleet.releases.offline import BadDocument, read_bundle, read_signers, sign, with_signers

    try:
        bundle = read_bundle(file.read_bytes())
        signers = read_signers((folder / SIGNERS).read_bytes())
        private = [_key(path) for path in sorted(folder.glob("*.key"))]
        if take_over:
            bundle = with_signers(bundle, signers, now=datetime.now(UTC))
        signed = sign(bundle, private)
        _show(bundle, folder)
        _write(file, bundle.to_bytes())
        if "targets" in signed:
            _write(folder / SIGNED, json.dumps(bundle.target_hashes, indent=1, sort_keys=True).encode())
    except (BadDocument, ValueError) as problem:
        fail(str(problem))
    except OSError as problem:
        fail(f"{problem.filename} cannot be used: {problem.strerror}")
    if not signed:
        fail(f"no key in {folder}")
    if "targets" not in signed and not set(bundle.root.signatures) & set(bundle.root.signed.roles["root"].keyids):
        click.echo("note: the root in this file names none of these keys; --take-over lets them count", err=True)
    have = len(set(bundle.root.signatures) & set(bundle.root.signed.roles["root"].keyids))
    click.echo(
        f"{file}: signed {' and '.join(sorted(set(signed)))}; root {bundle.root.signed.version} has {have} of "
        f"{bundle.root.signed.roles['root'].threshold} signatures, the targets {len(bundle.targets.signatures)} of 1"
    )


@click.command()
@click.argument("file", type=_FILE)
@calls_the_api
def publish(client: Client, file: Path) -> None:
    """Bring FILE, signed, back to the server; hosts believe it from then on."""
    answer = client.upload("PublishSignatures", file, lambda sent: None)
    click.echo(f"published: {', '.join(answer['Published'])}")


def _show(bundle: "Bundle", folder: Path) -> None:
    """What differs from what was signed here last: whoever has the server could offer anything."""
    before = _signed_before(folder / SIGNED)
    offered = bundle.target_hashes
    for path in sorted(set(before) | set(offered)):
        if before.get(path) == offered.get(path):
            continue
        sign = "-" if path not in offered else "+" if path not in before else "!"
        click.echo(f"{sign} {path}  sha256 {offered.get(path) or before[path]}")
    click.echo(f"{len(offered)} release(s) are vouched for; compare what is new with what you built")


def _signed_before(file: Path) -> dict[str, Any]:
    try:
        known = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    return known if isinstance(known, dict) else {}


def _key(file: Path) -> Any:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        found = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (ValueError, TypeError):
        found = None
    if not isinstance(found, Ed25519PrivateKey):
        raise ValueError(f"{file} is not a key that `backfleet release keys` made")
    return found


def _write(file: Path, content: bytes) -> None:
    """Whole or not at all, for the owner's eyes only."""
    partial = file.with_name(f".{file.name}.partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    partial.replace(file)
