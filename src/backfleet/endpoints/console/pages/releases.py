"""Releases: what is offered, add one with its file, withdraw one, offer one again, and what waits for a signature."""

import asyncio
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web

from backfleet.endpoints.console.guarding import Refused
from backfleet.endpoints.console.multipart import KIND, BadForm, SentFile, read_until_file
from backfleet.endpoints.console.routes import get, post, post_file
from backfleet.endpoints.console.visits import Visit, flat_of, go_to, rows_of
from backfleet.endpoints.uploads import stored
from backfleet.operations.catalogue import BACKFLEET, Answer, find
from backfleet.operations.perform import Authenticated
from backfleet.wire.errors import ApiError, InvalidParameter, MissingParameter, RequestTooLarge

FORMATS: Final = ("wheel", "deb", "tar", "zip", "binary")
FIELDS: Final = {"package": "PackageName", "version": "ReleaseVersion", "platform": "Platform", "channel": "Channel",
                 "format": "Format", "scheme": "Scheme"}  # fmt: skip
ACTIONS: Final = {"withdraw": "WithdrawRelease", "offer": "OfferRelease"}
ADDRESS: Final = "/releases/{package}/{version}/{platform}"


async def show_releases(visit: Visit) -> web.StreamResponse:
    """List releases, and what waits for a signature."""
    return await _list(visit, {})


async def show_release(visit: Visit) -> web.StreamResponse:
    """Show a release with its manifest."""
    found = await visit.ask("backfleet", "GetRelease", **_named(visit))
    return visit.page("release.html", release=found["Release"], added=None)


async def change(visit: Visit) -> web.StreamResponse:
    """Withdraw a release, or offer it on a channel, and show it."""
    action = ACTIONS.get(visit.sent("action"))
    if action is None:
        raise InvalidParameter("Choose what is to be done with the release.")
    channel = {"Channel": visit.sent("channel").strip() or None} if action == "OfferRelease" else {}
    await visit.ask("backfleet", action, **_named(visit), **channel)
    return go_to(visit.request.path.removeprefix("/console"))


async def add(visit: Visit) -> web.StreamResponse:
    """Add a release with its file. The fields come first: who may not add one is refused before the file is read."""
    if visit.request.content_type != KIND:
        raise Refused(415, "Forms with a file are sent as multipart/form-data.")
    try:
        fields, file = await read_until_file(visit.request, visit.cookies.holds)
    except BadForm as problem:
        raise Refused(403, str(problem)) from None
    given = {name: values[0].strip() for name, values in fields.items()}
    try:
        if file is None or not file.name:
            raise MissingParameter("The file")
        answer = await _upload(visit, file, asked_of(given, file.name))
    except ApiError as problem:
        return await _list(visit, given, problem)
    return visit.page("release.html", release={**answer["Release"], "Manifest": None}, added=answer)


async def _upload(visit: Visit, file: SentFile, asked: Mapping[str, Any]) -> Answer:
    """Call AddRelease as the person who is logged in. Raises ApiError."""
    console, call = visit.console, visit.new_call()
    performer, settings = console.performer, console.services.settings
    operation = find(BACKFLEET.version, "AddRelease")
    key_id = "" if visit.session is None else visit.session.credential.access_key_id
    admitted = await performer.admit(operation, flat_of(asked), Authenticated(call, key_id))
    try:
        if (visit.request.content_length or 0) > settings.upload_limit:
            raise RequestTooLarge(settings.upload_limit)
        incoming = settings.data / "incoming"
        async with stored(file.next_piece, incoming, settings.upload_limit, performer.in_thread) as upload:
            fresh = replace(
                visit.new_call(), request_id=call.request_id, upload=upload
            )  # its time begins with the file
            return await performer.run(admitted, fresh)
    except ApiError as problem:
        problem.extra.setdefault("RequestId", call.request_id)
        await performer.note_failure(call, problem.code)
        raise


def asked_of(given: Mapping[str, str], file_name: str) -> dict[str, Any]:
    """Return what AddRelease is asked, from the fields of the form. Pure.

    Raises:
        InvalidParameter: the manifest is no TOML.
    """
    asked: dict[str, Any] = {wire: given.get(name) or None for name, wire in FIELDS.items()}
    asked |= {"FileName": file_name, "NewPackage": "true" if given.get("new_package") else None}
    if given.get("manifest"):
        try:
            asked["Manifest"] = tomllib.loads(given["manifest"])
        except tomllib.TOMLDecodeError as problem:
            raise InvalidParameter(f"The text is not a TOML manifest: {problem}.") from None
    return asked


async def _list(visit: Visit, given: Mapping[str, str], problem: ApiError | None = None) -> web.Response:
    found, pending = await asyncio.gather(
        visit.ask("backfleet", "ListReleases"), visit.ask_or_none("backfleet", "GetPendingSignatures")
    )
    releases = rows_of(found, "Releases")
    waiting = [each for each in releases if not each["Published"] and not each["Withdrawn"]]
    status = 200 if problem is None else problem.status
    return visit.page(
        "releases.html", status=status, releases=releases, pending=pending, waiting=waiting, given=given,
        problem=problem, formats=FORMATS, address=address_of,
    )  # fmt: skip


def address_of(release: Mapping[str, Any]) -> str:
    """Return where a release is shown. Pure."""
    parts = (release["PackageName"], release["ReleaseVersion"], release["Platform"])
    return "/console/releases/" + "/".join(quote(part, safe="") for part in parts)


def _named(visit: Visit) -> dict[str, str]:
    named = visit.request.match_info
    return {
        "PackageName": named["package"],
        "ReleaseVersion": named["version"],
        "Platform": named["platform"],
    }


ROUTES = [
    get("/releases", show_releases),
    post_file("/releases", add),
    get(ADDRESS, show_release),
    post(ADDRESS, change),
]
