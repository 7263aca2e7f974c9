"""How the versions of a package compare: shown before it is changed, and changed."""

from typing import Any, Final

from backfleet import releases
from backfleet.operations.backfleet.releases import ERRORS, BadRelease, ReleaseConflict, TooManyReleases
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.releases import ReleaseRefused
from backfleet.values import value_object
from backfleet.wire.errors import ApiError
from backfleet.wire.parameters import text
from backfleet_host.versions import SCHEMES

REVIEW: Final = {"PackageName": str, "CurrentScheme": str, "Scheme": str, "Versions": [str], "Problems": [str]}


class PackageNotFound(ApiError):
    """No release of this package was ever added, so that nothing fixes how its versions compare."""

    code = "PackageNotFound"
    status = 404

    def __init__(self) -> None:
        super().__init__("There is no release of such a package; the first one fixes its version scheme.")


@value_object
class GetVersionScheme:
    """A package, and the scheme in whose order its releases are shown; its own if none is named."""

    package_name: str | None = text("PackageName", required=True, longest=64)
    scheme: str | None = text("Scheme", choices=SCHEMES)


@operation(
    BACKFLEET,
    "GetVersionScheme",
    action="backfleet:GetVersionScheme",
    answer=REVIEW,
    errors=(PackageNotFound,),
)
def get_version_scheme(call: Call, asked: GetVersionScheme) -> dict[str, Any]:
    """Return the versions of a package in the order of a scheme, the newest first, and why it cannot have it."""
    try:
        with call.services.database.reading() as tx:
            return _answer(releases.review_scheme(tx, asked.package_name or "", asked.scheme))
    except releases.UnknownPackage:
        raise PackageNotFound from None


@value_object
class SetVersionScheme:
    """A package, and how its versions are to compare from now on."""

    package_name: str | None = text("PackageName", required=True, longest=64)
    scheme: str | None = text("Scheme", required=True, choices=SCHEMES)


@operation(
    BACKFLEET,
    "SetVersionScheme",
    action="backfleet:SetVersionScheme",
    administrator_only=True,
    answer={**REVIEW, "Published": bool},
    errors=(PackageNotFound, BadRelease, ReleaseConflict, TooManyReleases),
)
def set_version_scheme(call: Call, asked: SetVersionScheme) -> dict[str, Any]:
    """Change how the versions of a package compare. The same scheme changes nothing.

    Hosts know it from the signed metadata: not before it is signed, where the targets key is kept elsewhere.
    """
    package, scheme = asked.package_name or "", asked.scheme or ""
    try:
        with call.services.database.transaction() as tx:
            releases.change_scheme(tx, call.services.repository, package, scheme, now=call.now)
            is_signed = releases.may_sign(tx, call.services.repository, "targets")
            return {**_answer(releases.review_scheme(tx, package, None)), "Published": is_signed}
    except releases.UnknownPackage:
        raise PackageNotFound from None
    except ReleaseRefused as refusal:
        raise ERRORS[refusal.code](refusal) from None


def _answer(review: releases.SchemeReview) -> dict[str, Any]:
    return {
        "PackageName": review.package,
        "CurrentScheme": review.current,
        "Scheme": review.scheme,
        "Versions": list(review.versions),
        "Problems": list(review.problems),
    }
