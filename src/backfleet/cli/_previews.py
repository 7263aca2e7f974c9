"""What a preview of a rollout says of its rings, of pinned members, and of hosts that cannot have the version."""

from collections.abc import Mapping
from typing import Any, Final

from backfleet.cli._print import moment, say

SHOWN: Final = 5  # first members of a ring; pinned members, each with its pin
HEADINGS: Final = ("WHAT", "NAME", "NUMBER", "WHY", "FIRST")


def say_what_holds(found: Mapping[str, Any]) -> None:
    """Print which members wait for the end of their pins, and for which platforms there is no such release."""
    for each in found.get("NotToBeHad", []):
        release = f"{each['PackageName']} {each['ReleaseVersion']}"
        say(f"{release} for {_place(each)}: {each['Reason']}; {_hosts(each['Hosts'])} cannot have it")
    if not found["Pinned"]:
        return
    say(f"{found['Pinned']} {'waits' if found['Pinned'] == 1 else 'wait'} for the end of their pins:")
    pins = found.get("Pins", [])[:SHOWN]
    for pin in pins:
        to = f" to {pin['Versions']}" if pin["Versions"] else ""
        until = moment(pin["ExpiresTime"])
        say(f"  {pin['Host']} ({pin['ClientId']}): pinned{to} until {until} by {pin['Owner']}: {pin['Reason']}")
    if found["Pinned"] > len(pins):
        say(f"  and {found['Pinned'] - len(pins)} more; `backfleet client pins` lists every pin")


def rows(found: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """Return a preview as a table: all that is said of it in words, with the first members of each ring."""
    lacking, pins, left_out = found.get("NotToBeHad", []), found.get("Pins", []), found["LeftOut"]
    there = found["AlreadyThere"]
    setters = ["the account itself", *found["TagSetters"]] if found["Dynamic"] else []
    decides = "may set tags, and so decides what is taken in"
    return [
        *(("ring", ring["Name"], ring["Members"], "", " ".join(first_of(found, ring))) for ring in found["Rings"]),
        *([("already there", found.get("TargetVersion", ""), there, "", "")] if there else []),
        *(("cannot have it", _place(each), each["Hosts"], each["Reason"], "") for each in lacking),
        *(("pinned", pin["Host"], 1, f"{pin['Owner']}: {pin['Reason']}", pin["ClientId"]) for pin in pins),
        *([("in no ring", "", len(left_out), "", " ".join(left_out[:SHOWN]))] if left_out else []),
        *(("tag setter", setter, "", decides, "") for setter in setters),
        *(("fault", each["Key"], "", f"{each['Found']}; {each['Wanted']}", "") for each in found["Faults"]),
    ]


def first_of(found: Mapping[str, Any], ring: Mapping[str, Any]) -> list[str]:
    """Return the first members of a ring: clients, or for an install the hosts that get one."""
    named: list[str] = ring["Instances" if found.get("Kind") == "install" else "Clients"]
    return named[:SHOWN]


def _place(each: Mapping[str, Any]) -> str:
    """Return which hosts cannot have a version: those of a platform, or those of it that have another version."""
    platform = each["Platform"] or "an unknown platform"
    version = each.get("FromVersion", "")  # an older server does not say it
    return f"{platform} with {version}" if version else platform


def _hosts(number: int) -> str:
    return f"{number} host{'' if number == 1 else 's'}"
