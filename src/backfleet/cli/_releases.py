"""backfleet release: add, list and withdraw releases."""

import sys
import tomllib
from pathlib import Path
from typing import Any

import click

from backfleet.cli._client import CallFailed, Client
from backfleet.cli._options import calls_the_api, fail, json_option, read_text
from backfleet.cli._print import print_json, say, size
from backfleet.cli._tables import Output, output_options
from backfleet_host.versions import SCHEMES

ALREADY_THERE = "already there, nothing changed"
UNUSUAL_PACKAGE = "UnusualPackageName"
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
@click.option("--new-package", is_flag=True, help="The package is new, although its name is close to another one's.")
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
    new_package: bool,
    as_json: bool,
) -> None:
    """Upload FILE as a release and offer it on a channel."""
    asked = {
        "PackageName": package,
        "ReleaseVersion": version,
        "Platform": platform,
        "Format": form,
        "Channel": channel,
        "FileName": file.name,
        "Manifest": _manifest(manifest),
        "Scheme": scheme,
    }
    try:
        answer = _upload(client, file, {**asked, "NewPackage": new_package or None})
    except CallFailed as problem:
        if problem.answer.get("Code") != UNUSUAL_PACKAGE or not sys.stdin.isatty():
            raise
        click.confirm(f"{problem.message}\nIs a new package {package!r} meant?", abort=True, err=True)
        answer = _upload(client, file, {**asked, "NewPackage": True})
    if as_json:
        print_json(answer)
        return
    say(f"{package} {version} {platform}: {_what_changed(answer, channel)}")
    if answer.get("NeededLibraries"):
        say(f"needs: {', '.join(answer['NeededLibraries'])}")
    _say_notes(answer)


def _upload(client: Client, file: Path, asked: dict[str, Any]) -> dict[str, Any]:
    total = file.stat().st_size
    with click.progressbar(length=total, label=f"{file.name} ({size(total)})", file=sys.stderr) as bar:
        return client.upload(
            "AddRelease", file, bar.update, lambda why: say(f"\n{why}; beginning anew", err=True), **asked
        )


def _what_changed(answer: dict[str, Any], channel: str) -> str:
    if answer.get("Added"):
        return f"added, and offered on {channel}"
    return f"was there already, and is offered on {channel} now" if answer.get("Offered") else ALREADY_THERE


def _say_notes(answer: dict[str, Any]) -> None:
    for note in answer.get("Notes") or []:
        say(f"note: {note}")


def _manifest(file: Path | None) -> dict[str, Any] | None:
    if file is None:
        return None
    text = read_text(file)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        fail(f"{file} is not a TOML manifest: {problem}")


@release.command(name="list")
@click.option("--package")
@output_options
@calls_the_api
def list_releases(client: Client, package: str | None, output: Output) -> None:
    """List every release, newest first."""
    found = client.call("backfleet", "ListReleases", PackageName=package)["Releases"]
    output.show(
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
        found,
    )


def _names_one(command: Any) -> Any:
    for option in ("--platform", "--version", "--package"):
        command = click.option(option, required=True)(command)
    return command


@release.command()
@_names_one
@json_option
@calls_the_api
def show(client: Client, package: str, version: str, platform: str, as_json: bool) -> None:
    """Show one release, its manifest and its hash. It is JSON in any case."""
    print_json(client.call("backfleet", "GetRelease", PackageName=package, ReleaseVersion=version, Platform=platform))


@release.command()
@_names_one
@json_option
@calls_the_api
def withdraw(client: Client, package: str, version: str, platform: str, as_json: bool) -> None:
    """Stop offering a release. Hosts that run it keep it."""
    names = {"PackageName": package, "ReleaseVersion": version, "Platform": platform}
    answer = client.call("backfleet", "WithdrawRelease", **names)
    print_json(answer) if as_json else say(f"{package} {version} {platform}: withdrawn")


@release.command()
@_names_one
@click.option("--channel", default="stable", show_default=True)
@json_option
@calls_the_api
def offer(client: Client, package: str, version: str, platform: str, channel: str, as_json: bool) -> None:
    """Offer a release on a channel: on another one, or again after it was withdrawn."""
    names = {"PackageName": package, "ReleaseVersion": version, "Platform": platform}
    answer = client.call("backfleet", "OfferRelease", **names, Channel=channel)
    if as_json:
        print_json(answer)
        return
    say(f"{package} {version} {platform}: {f'offered on {channel}' if answer.get('Offered') else ALREADY_THERE}")
    _say_notes(answer)


@release.command()
@click.argument("package")
@click.option("--channel", default="stable", show_default=True)
@click.option("--platform", help="Default: every platform for which the channel offers the package.")
@json_option
@calls_the_api
def default(client: Client, package: str, channel: str, platform: str | None, as_json: bool) -> None:
    """Choose what an install gets on a channel that names no package."""
    answer = client.call("backfleet", "SetDefaultPackage", PackageName=package, Channel=channel, Platform=platform)
    if as_json:
        print_json(answer)
        return
    say(f"{channel}: an install that names no package gets {package} on {', '.join(answer['Platforms'])}")


@release.command()
@output_options
@calls_the_api
def channels(client: Client, output: Output) -> None:
    """List channels, with the newest release of each package."""
    found = client.call("backfleet", "ListChannels")["Channels"]
    output.show(
        ("CHANNEL", "PACKAGE", "PLATFORM", "NEWEST", "DEFAULT"),
        [
            (c["Channel"], c["PackageName"], c["Platform"], c["NewestVersion"], "yes" if c.get("Default") else "")
            for c in found
        ],
        found,
    )
