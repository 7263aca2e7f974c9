"""What a preview of a rollout says of pinned members, and of hosts that cannot have the version."""

from collections.abc import Mapping
from typing import Any, Final

from backfleet.cli._print import moment, say

SHOWN: Final = 5  # pinned members, each with its pin


def say_what_holds(found: Mapping[str, Any]) -> None:
    """Print which members wait for the end of their pins, and for which platforms there is no such release."""
    for each in found.get("NotToBeHad", []):
        platform = each["Platform"] or "an unknown platform"
        release = f"{each['PackageName']} {each['ReleaseVersion']}"
        say(f"{release} for {platform}: {each['Reason']}; {_hosts(each['Hosts'])} cannot have it")
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


def _hosts(number: int) -> str:
    return f"{number} host{'' if number == 1 else 's'}"
