"""Channels: what each offers, and what an install on it gets that names no package."""

from typing import Any

from backfleet import releases
from backfleet.operations.backfleet.releases import CHANNEL, ReleaseNotFound
from backfleet.operations.catalogue import BACKFLEET, Call, operation
from backfleet.releases import STABLE, Release
from backfleet.values import value_object
from backfleet.wire.parameters import text


@value_object
class SetDefaultPackage:
    """A package that is offered on a channel. Without a platform: for all platforms that it is offered for there."""

    package_name: str | None = text("PackageName", required=True, longest=64)
    channel: str | None = text("Channel", default=STABLE, longest=64, pattern=CHANNEL)
    platform: str | None = text("Platform", longest=64)


@operation(
    BACKFLEET,
    "SetDefaultPackage",
    action="backfleet:SetDefaultPackage",
    administrator_only=True,
    answer={"Platforms": [str]},
    errors=(ReleaseNotFound,),
)
def set_default_package(call: Call, asked: SetDefaultPackage) -> dict[str, Any]:
    """Choose what an install gets on a channel that names no package. Until then it is the first package there."""
    channel, package = asked.channel or STABLE, asked.package_name or ""
    with call.services.database.transaction() as tx:
        platforms = releases.set_default_package(tx, channel, package, asked.platform)
    if not platforms:
        raise ReleaseNotFound
    return {"Platforms": platforms}


@value_object
class ListChannels:
    """No parameters."""


@operation(
    BACKFLEET,
    "ListChannels",
    action="backfleet:ListChannels",
    answer={"Channels": [{"Channel": str, "PackageName": str, "Platform": str, "NewestVersion": str, "Default": bool}]},
)
def list_channels(call: Call, asked: ListChannels) -> dict[str, Any]:
    """List the newest release of each package and platform on each channel."""
    with call.services.database.reading() as tx:
        found = releases.find_all(tx, None)
        named = {channel for release in found for channel in release.channels}
        defaults = {channel: releases.default_packages(tx, channel) for channel in named}
    groups: dict[tuple[str, str, str], list[Release]] = {}
    for release in found:
        for channel in release.channels:
            groups.setdefault((channel, release.package, release.platform), []).append(release)
    channels = []
    for (channel, package, platform), offered in sorted(groups.items()):
        newest = releases.newest(offered)
        channels.append(
            {
                "Channel": channel,
                "PackageName": package,
                "Platform": platform,
                "NewestVersion": newest.version if newest else "",
                "Default": defaults[channel].get(platform) == package,
            }
        )
    return {"Channels": channels}
