"""backfleet release: add, list and withdraw releases."""

import sys
import tomllib
from pathlib import Path
from typing import Any

import click

from backfleet.cli._client import Client
from backfleet.cli._options import calls_the_api, fail, json_option
from backfleet.cli._print import print_json, print_table, say, size
from backfleet_host.versions import SCHEMES

FORMATS = ("wheel", "deb", "tar", "zip", "binary")


@click.group()
def release() -> None:
    """Releases: versions of backup clients that hosts may upgrade to."""


@release.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--package", required=True, help="The backup client, such as rclone.")
@click.option("--version", required=True, help="Its version, such as 1.75.2.")
@click.option("--platform", required=True, help="Where it runs, such as linux-amd64.")
@click.option("--from", "form", type=click.Choice(FORMATS), help="The format of FILE. Default: what its bytes show.")
@click.option("--manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A TOML manifest.")
@click.option("--channel", default="stable", show_default=True)
@click.option(
    "--scheme",
    type=click.Choice(SCHEMES),
    help="How the versions of the package compare. Default: what it has; at first deb for a deb file, else pep440.",
)
@json_option
@calls_the_api
def add(
    client: Client,
    file: Path,
    package: str,
    version: str,
    platform: str,
    form: str | None,
    manifest: Path | None,
    channel: str,
    scheme: str | None,
    as_json: bool,
) -> None:
    """Upload FILE as a release and offer it on a channel."""
    total = file.stat().st_size
    with click.progressbar(length=total, label=f"{file.name} ({size(total)})", file=sys.stderr) as bar:
        answer = client.upload(
            "AddRelease",
            file,
            bar.update,
            lambda why: say(f"\n{why}; beginning anew", err=True),
            PackageName=package,
            ReleaseVersion=version,
            Platform=platform,
            Format=form,
            Channel=channel,
            FileName=file.name,
            Manifest=_manifest(manifest),
            Scheme=scheme,
        )
    if as_json:
        print_json(answer)
        return
    say(f"{package} {version} {platform}: {'added' if answer.get('Added') else 'already there, nothing changed'}")
    if answer.get("NeededLibraries"):
        say(f"needs: {', '.join(answer['NeededLibraries'])}")
    for note in answer.get("Notes") or []:
        say(f"note: {note}")


def _manifest(file: Path | None) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        return tomllib.loads(file.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        fail(f"{file} is not a TOML manifest: {problem}")


@release.command(name="list")
@click.option("--package")
@json_option
@calls_the_api
def list_releases(client: Client, package: str | None, as_json: bool) -> None:
    """List every release, newest first."""
    found = client.call("backfleet", "ListReleases", PackageName=package)["Releases"]
    if as_json:
        print_json(found)
        return
    print_table(
        ("PACKAGE", "VERSION", "PLATFORM", "CHANNELS", "SIZE", "STATE"),
        [
            (
                r["PackageName"],
                r["ReleaseVersion"],
                r["Platform"],
                ",".join(r["Channels"]),
                size(r["Size"]),
                "withdrawn" if r.get("Withdrawn") else "offered",
            )
            for r in found
        ],
    )


def _names_one(command: Any) -> Any:
    for option in ("--platform", "--version", "--package"):
        command = click.option(option, required=True)(command)
    return command


@release.command()
@_names_one
@calls_the_api
def show(client: Client, package: str, version: str, platform: str) -> None:
    """Show one release, its manifest and its hash."""
    print_json(client.call("backfleet", "GetRelease", PackageName=package, ReleaseVersion=version, Platform=platform))


@release.command()
@_names_one
@calls_the_api
def withdraw(client: Client, package: str, version: str, platform: str) -> None:
    """Stop offering a release. Hosts that run it keep it."""
    client.call("backfleet", "WithdrawRelease", PackageName=package, ReleaseVersion=version, Platform=platform)
    say(f"{package} {version} {platform}: withdrawn")


@release.command()
@json_option
@calls_the_api
def channels(client: Client, as_json: bool) -> None:
    """List channels, with the newest release of each package."""
    found = client.call("backfleet", "ListChannels")["Channels"]
    if as_json:
        print_json(found)
        return
    print_table(
        ("CHANNEL", "PACKAGE", "PLATFORM", "NEWEST"),
        [(c["Channel"], c["PackageName"], c["Platform"], c["NewestVersion"]) for c in found],
    )
