"""Values of this package: releases, and artifacts that may become one."""

from datetime import datetime
from typing import Any, Final

from backfleet.values import value_object
from backfleet_host import download_paths
from backfleet_host.manifest import Manifest
from backfleet_host.versions import Scheme

STABLE: Final = "stable"  # the channel that is followed unless another is named


@value_object
class Release:
    """One package in one version for one platform."""

    package: str
    version: str
    platform: str
    sha256: str
    size: int  # bytes
    file_name: str
    manifest: Manifest
    created_at: datetime
    withdrawn_at: datetime | None
    channels: tuple[str, ...] = ()
    published_at: datetime | None = None  # None: it waits for a signature, and is offered to nobody
    fetched_at: datetime | None = None  # when its artifact was first sent to anybody; None: never

    @property
    def target_path(self) -> str:
        """The release's name in the signed metadata."""
        return download_paths.target_path(self.package, self.version, self.platform)

    @property
    def version_scheme(self) -> Scheme:
        """How the versions of its package compare."""
        return self.manifest.version_scheme

    @property
    def order(self) -> Any:
        """Its version in the form in which it compares with others of the package."""
        return self.version_scheme.order_of(self.version)


@value_object
class Prepared:
    """An artifact that was read through and may be added as a release."""

    manifest: Manifest
    sha256: str
    size: int  # bytes
    file_name: str
    libraries: tuple[str, ...] = ()  # that its commands need, by name
    notes: tuple[str, ...] = ()  # what the administrator should know of it


@value_object
class Delta:
    """What makes the content of a release of that of an older version; or why there is no such file."""

    package: str
    version: str
    platform: str
    base_version: str
    sha256: str = ""  # "" = there is none
    size: int = 0  # bytes
    base_sha256: str = ""
    base_length: int = 0  # bytes
    result_sha256: str = ""
    result_length: int = 0  # bytes
    note: str = ""  # why there is none
    retry_above: int | None = None  # delta_megabytes with which it was not made: with more it is tried again
    retry_at: datetime | None = None  # when it is tried again in any case
    downloads: int = 0  # by hosts that said so

    @property
    def is_final(self) -> bool:
        """Whether it was made, or another try would end the same."""
        return bool(self.sha256) or (self.retry_above is None and self.retry_at is None)

    @property
    def target_path(self) -> str:
        """The delta's name in the signed metadata."""
        return download_paths.delta_path(self.package, self.version, self.platform, self.base_version)


@value_object
class DeltaFigures:
    """What became of the deltas of a package."""

    package: str
    made: int
    failed: int  # that may be made another time
    useless: int  # that are too large to be of use, or that cannot be made of these two versions
    downloads: int  # by hosts that said so
    saved: int  # bytes that these hosts did not download
