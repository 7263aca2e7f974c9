"""The paths of a server's downloads. Both sides import them: the endpoint serves what hosts and pasted lines fetch.

An order may name another address for `METADATA` and `TARGETS`; they then follow that address instead of `DOWNLOADS`.
"""

from __future__ import annotations

from backfleet_host.layout import version_folder

DOWNLOADS = "/downloads"
METADATA = "/metadata"  # signed metadata of releases; below DOWNLOADS, as are the next ones
TARGETS = "/targets"  # artifacts by their names in the signed metadata
HOST_PROGRAM = "/backfleet-host.pyz"
HOST_BINARY = "/backfleet-host"  # and `-x86_64`: what `uname -m` says there; alone it is that of the server's own kind
AUTHORITY = "/ca.pem"  # the certificate of the private authority


def target_path(package: str, version: str, platform: str) -> str:
    """Return a release's name in the signed metadata. Hosts find a release by it, since an order says no more."""
    return f"{package}/{version_folder(version)}/{platform}"


def delta_path(package: str, version: str, platform: str, base: str) -> str:
    """Return the name in the signed metadata of the delta that makes a release of another version."""
    return f"{deltas_of(target_path(package, version, platform))}{version_folder(base)}"


def deltas_of(path: str) -> str:
    """Return what the names of all deltas to a release begin with, by its own name."""
    return f"{path}/from/"
