"""Releases: add, list, withdraw, sign. They belong to the installation, and every account may use them."""

from typing import Any, Final

from backfleet import releases
from backfleet.failpoints import failpoint
from backfleet.object_store import Trouble
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.releases import STABLE, Release, ReleaseRefused
from backfleet.storage import Transaction
from backfleet.values import value_object
from backfleet.wire.errors import ApiError, MissingParameter
from backfleet.wire.parameters import boolean, json_object, text
from backfleet.wire.shapes import Anything
from backfleet_host.versions import FIRST_SCHEME, SCHEMES, default_scheme

LARGEST_DOCUMENT: Final = 16 << 20  # bytes
CHANNEL: Final = r"[a-z0-9][a-z0-9._+-]{0,63}"


class ReleaseError(ApiError):
    """A release that cannot be offered; the text is that of the releases module."""

    status = 400

    def __init__(self, refusal: ReleaseRefused) -> None:
        super().__init__(f"{str(refusal)[0].upper()}{str(refusal)[1:]}.")


class BadRelease(ReleaseError):
    """The file or its description is not a release; the text says why."""

    code = "InvalidParameter.Release"


class ReleaseConflict(ReleaseError):
    """A release of this version exists, with other contents."""

    code = "ReleaseConflict"
    status = 409


class UnusualPackageName(ReleaseError):
    """A package is new, and its name is close to another's."""

    code = "UnusualPackageName"


class TooManyReleases(ReleaseError):
    """There are as many releases as the signed metadata can list."""

    code = "QuotaExceeded.Release"


class ObjectStoreUnavailable(ApiError):
    """The artifact did not get into the object store; the text says why. There is no release of it."""

    code = "ObjectStoreUnavailable"
    status = 503

    def __init__(self, problem: Trouble) -> None:
        super().__init__(f"The artifact is not stored, and the release not added: {problem}.")


class BadSignature(ReleaseError):
    """Signatures are missing, or are not over what this server has to sign."""

    code = "InvalidParameter.Signature"


ERRORS: Final = {error.code: error for error in (BadRelease, ReleaseConflict, TooManyReleases, UnusualPackageName)}

RELEASE: Final = {
    "PackageName": str,
    "ReleaseVersion": str,
    "Platform": str,
    "Channels": [str],
    "Sha256": str,
    "Size": int,
    "FileName": str,
    "CreatedTime": int,
    "Withdrawn": bool,
    "Published": bool,
    "Scheme": str,
    "Fetched": bool,
}
DELTA: Final = {"FromVersion": str, "Size": int, "Note": str, "Downloads": int, "BytesSaved": int}
"""The note says why there is none, of 0 bytes. Downloads are those that hosts have reported."""
NO_HEALTH_NOTE: Final = "it has no health command: hosts only check that its commands start"
OTHER_MANIFEST_NOTE: Final = "it keeps the manifest that it has: hosts may know the version with it"
UNPUBLISHED_NOTE: Final = (
    "it waits for a signature with the targets key, which is kept elsewhere: "
    "run backfleet release pending, release sign and release publish"
)
OTHER_SCHEME_NOTE: Final = (
    "the versions of its package compare by the scheme {scheme}, and a {form} file usually has {usual}: "
    "`backfleet release scheme` shows both orders and changes it"
)


class ReleaseNotFound(ApiError):
    """The release does not exist."""

    code = "ReleaseNotFound"
    status = 404

    def __init__(self) -> None:
        super().__init__("There is no such release; ListReleases lists them.")


@value_object
class AddRelease:
    """A release to add. The file is the body of the request."""

    package_name: str | None = text("PackageName", required=True, longest=64)
    release_version: str | None = text("ReleaseVersion", required=True, longest=64)
    platform: str | None = text("Platform", required=True, longest=64)
    format: str | None = text("Format", choices=("wheel", "deb", "tar", "zip", "binary"))
    file_name: str | None = text("FileName", default="artifact", longest=255)
    channel: str | None = text("Channel", default=STABLE, longest=64, pattern=CHANNEL)
    manifest: dict[str, Any] | None = json_object("Manifest")
    scheme: str | None = text("Scheme", choices=SCHEMES)
    new_package: bool | None = boolean("NewPackage", default=False)


@operation(
    BACKFLEET,
    "AddRelease",
    action="backfleet:AddRelease",
    streams=True,
    administrator_only=True,
    answer={"Added": bool, "Offered": bool, "Release": RELEASE, "NeededLibraries": [str], "Notes": [str]},
    errors=(*ERRORS.values(), ObjectStoreUnavailable),
)
def add_release(call: Call, asked: AddRelease) -> dict[str, Any]:
    """Add a file as a release and offer it on a channel. Adding the same file again changes nothing.

    The file's own bytes are compared with what is given: format, architecture, package and version.
    """
    upload, repository = call.upload, call.services.repository
    if upload is None or not upload.size:
        raise MissingParameter("The file, as the body of the request,")
    try:
        with call.services.database.reading() as tx:
            scheme = releases.scheme_for(tx, asked.package_name or "", asked.scheme)
        prepared = releases.prepare(
            upload.path,
            upload.sha256,
            upload.size,
            package=asked.package_name or "",
            version=asked.release_version or "",
            platform=asked.platform or "",
            form=asked.format or "",
            file_name=asked.file_name or "",
            given=asked.manifest,
            scheme=scheme,
        )
        releases.keep_artifact(repository, upload.path, upload.sha256)
        failpoint("artifact stored")
        database = call.services.database
        if repository.stored is not None:  # however long it took, it is there now, and adding it is its last step
            database = database.without_limit()
        with database.transaction() as tx:
            return _add(tx, call, prepared, asked)
    except ReleaseRefused as refusal:
        raise ERRORS[refusal.code](refusal) from None
    except Trouble as problem:
        raise ObjectStoreUnavailable(problem) from None


def _add(tx: Transaction, call: Call, prepared: releases.Prepared, asked: AddRelease) -> dict[str, Any]:
    manifest, channel = prepared.manifest, asked.channel or STABLE
    before = releases.find(tx, manifest.package, manifest.version, manifest.platform)
    release, is_new = releases.add(
        tx,
        call.services.repository,
        prepared,
        channel=channel,
        now=call.now,
        is_new_package_meant=bool(asked.new_package),
    )
    notes = [*prepared.notes, *([] if release.manifest.health else [NO_HEALTH_NOTE])]
    notes += _scheme_notes(release)
    if release.manifest != manifest:
        notes.append(OTHER_MANIFEST_NOTE)
    return {
        "Added": is_new,
        "Offered": is_new or _is_newly_offered(before, channel),
        "Release": release_answer(release),
        "NeededLibraries": list(prepared.libraries),
        "Notes": [*notes, *_notes_on_offer(tx, call, release, channel)],
    }


def _scheme_notes(release: Release) -> list[str]:
    """Say so if files of this format usually have another version scheme than the package has."""
    form, scheme = release.manifest.format, release.manifest.scheme
    usual = default_scheme(form)
    return [] if usual in (scheme, FIRST_SCHEME) else [OTHER_SCHEME_NOTE.format(form=form, usual=usual, scheme=scheme)]


def _is_newly_offered(before: Release | None, channel: str) -> bool:
    return before is None or before.withdrawn_at is not None or channel not in before.channels


def _notes_on_offer(tx: Transaction, call: Call, release: Release, channel: str) -> list[str]:
    """Return what follows from an offer: a signature that is missing, and a second package on a channel."""
    notes = [UNPUBLISHED_NOTE] if release.published_at is None else []
    others = releases.other_packages(tx, channel, release.platform, release.package)
    if not others:
        return notes
    configured = call.services.settings.default_package
    default = configured or releases.default_packages(tx, channel).get(release.platform, "")
    listed = ", ".join(sorted({release.package, *others}))
    what = f"still installs {default}" if default else "is refused, because none of them is the default"
    return [
        *notes,
        f"channel {channel} offers several packages for {release.platform}: {listed}. An install that names none "
        f"{what}; `backfleet release default PACKAGE` or the setting default_package changes that",
    ]


@value_object
class ListReleases:
    """The package to list; all of them if none is named."""

    package_name: str | None = text("PackageName", longest=64)


@operation(BACKFLEET, "ListReleases", action="backfleet:ListReleases", answer={"Releases": [RELEASE]})
def list_releases(call: Call, asked: ListReleases) -> dict[str, Any]:
    """List every release, the newest first."""
    with call.services.database.reading() as tx:
        found = releases.find_all(tx, asked.package_name)
    return {"Releases": [release_answer(release) for release in found]}


@value_object
class GetRelease:
    """A release."""

    package_name: str | None = text("PackageName", required=True, longest=64)
    release_version: str | None = text("ReleaseVersion", required=True, longest=64)
    platform: str | None = text("Platform", required=True, longest=64)


@operation(
    BACKFLEET,
    "GetRelease",
    action="backfleet:GetRelease",
    answer={"Release": {**RELEASE, "Manifest": Anything, "Deltas": [DELTA]}},
    errors=(ReleaseNotFound,),
)
def get_release(call: Call, asked: GetRelease) -> dict[str, Any]:
    """Return a release, its manifest, and the deltas by which hosts with an older version download it."""
    names = asked.package_name or "", asked.release_version or "", asked.platform or ""
    with call.services.database.reading() as tx:
        found, deltas = releases.find(tx, *names), releases.deltas_to(tx, *names)
    if found is None:
        raise ReleaseNotFound
    listed = [_delta_answer(found, each) for each in deltas]
    return {"Release": release_answer(found) | {"Manifest": found.manifest.to_json(), "Deltas": listed}}


def _delta_answer(release: releases.Release, delta: releases.Delta) -> dict[str, Any]:
    saved = delta.downloads * (release.size - delta.size) if delta.sha256 else 0
    return {
        "FromVersion": delta.base_version,
        "Size": delta.size,
        "Note": delta.note,
        "Downloads": delta.downloads,
        "BytesSaved": saved,
    }


@value_object
class WithdrawRelease(GetRelease):
    """A release."""


@operation(
    BACKFLEET,
    "WithdrawRelease",
    action="backfleet:WithdrawRelease",
    administrator_only=True,
    answer={},
    errors=(ReleaseNotFound,),
)
def withdraw_release(call: Call, asked: WithdrawRelease) -> dict[str, Any]:
    """Stop offering a release. Withdrawing it again changes nothing."""
    names = (asked.package_name or "", asked.release_version or "", asked.platform or "")
    with call.services.database.transaction() as tx:
        known = releases.withdraw(tx, call.services.repository, *names, now=call.now)
    if not known:
        raise ReleaseNotFound
    return {}


@value_object
class OfferRelease(GetRelease):
    """A release, and where to offer it."""

    channel: str | None = text("Channel", default=STABLE, longest=64, pattern=CHANNEL)


@operation(
    BACKFLEET,
    "OfferRelease",
    action="backfleet:OfferRelease",
    administrator_only=True,
    answer={"Offered": bool, "Release": RELEASE, "Notes": [str]},
    errors=(ReleaseNotFound, *ERRORS.values()),
)
def offer_release(call: Call, asked: OfferRelease) -> dict[str, Any]:
    """Offer a release on a channel: on another one, or again after it was withdrawn."""
    names, channel = (
        (asked.package_name or "", asked.release_version or "", asked.platform or ""),
        asked.channel or STABLE,
    )
    try:
        with call.services.database.transaction() as tx:
            before = releases.find(tx, *names)
            release = releases.offer(tx, call.services.repository, *names, channel=channel, now=call.now)
            if release is None:
                raise ReleaseNotFound
            notes = _notes_on_offer(tx, call, release, channel)
    except ReleaseRefused as refusal:
        raise ERRORS[refusal.code](refusal) from None
    return {"Offered": _is_newly_offered(before, channel), "Release": release_answer(release), "Notes": notes}


def release_answer(release: Release) -> dict[str, Any]:
    """Return a release as answers show it."""
    return {
        "PackageName": release.package,
        "ReleaseVersion": release.version,
        "Platform": release.platform,
        "Channels": list(release.channels),
        "Sha256": release.sha256,
        "Size": release.size,
        "FileName": release.file_name,
        "CreatedTime": int(release.created_at.timestamp()),
        "Withdrawn": release.withdrawn_at is not None,
        "Published": release.published_at is not None,
        "Scheme": release.manifest.scheme,
        "Fetched": release.fetched_at is not None,
    }


@value_object
class GetPendingSignatures:
    """No parameters."""


@operation(
    BACKFLEET,
    "GetPendingSignatures",
    action="backfleet:GetPendingSignatures",
    administrator_only=True,
    answer={"Document": str, "HoldsRootKey": bool, "HoldsTargetsKey": bool},
)
def get_pending_signatures(call: Call, asked: GetPendingSignatures) -> dict[str, Any]:
    """Return what to sign where the keys are: JSON text with the root in force and the metadata that is next."""
    with call.services.database.transaction() as tx:  # this makes the very first metadata if there is none
        document = releases.pending_signatures(tx, call.services.repository, now=call.now).to_bytes().decode()
        holds = [releases.may_sign(tx, call.services.repository, role) for role in ("root", "targets")]
    return {"Document": document, "HoldsRootKey": holds[0], "HoldsTargetsKey": holds[1]}


@value_object
class PublishSignatures:
    """No parameters: the document is the body."""


@operation(
    BACKFLEET,
    "PublishSignatures",
    action="backfleet:PublishSignatures",
    streams=True,
    administrator_only=True,
    answer={"Published": [str]},
    errors=(BadSignature, TooManyReleases),
)
def publish_signatures(call: Call, asked: PublishSignatures) -> dict[str, Any]:
    """Publish what was signed elsewhere, completely or not at all. Hosts accept it from then on."""
    upload = call.upload
    if upload is None or not 0 < upload.size <= LARGEST_DOCUMENT:
        raise MissingParameter("The signed document, as the body of the request,")
    try:
        with call.services.database.transaction() as tx:
            taken = releases.accept_signatures(tx, call.services.repository, upload.path.read_bytes(), now=call.now)
    except releases.NotSigned as refusal:
        raise BadSignature(refusal) from None
    except ReleaseRefused as refusal:
        raise ERRORS[refusal.code](refusal) from None
    return {"Published": taken}
