"""A policy to begin with: what the console offers to somebody who wants to roll a release out."""

import json
import re
from datetime import datetime, timedelta
from typing import Final

from backfleet_host.layout import PACKAGE, VERSION

LASTS: Final = timedelta(days=14)

_TEXT: Final = """\
# One host first. The others follow when it has been well for a day.
name = {name}
package = {package}
version = {version}
deadline = "{deadline:%Y-%m-%dT%H:%M:%SZ}"

# [select]
# tags = {{ env = "prod" }}     # without it: every client of the package

[[ring]]
name = "canary"
count = 1

[[ring]]
name = "rest"
gates = [{{ kind = "soak", hours = 24 }}]    # {{ kind = "approval" }}: somebody else has to agree

# [window]
# times = ["Mon-Thu 22:00-05:00"]
# time_zone = "host"

[pace]
in_flight = "5%"

[failure]
max_failed = 1                # the second failure halts the rollout
"""


def example_policy(package: str, version: str, now: datetime) -> str:
    """Return a policy that takes every client of a package to a version, one host first. Pure.

    Args:
        package: its name.
        version: the one to go to.
        now: the deadline is two weeks later.

    Returns:
        The document; "" if one of the names cannot be that of a release.
    """
    if not (re.fullmatch(PACKAGE, package) and re.fullmatch(VERSION, version)):
        return ""
    name = json.dumps(re.sub(r"[^A-Za-z0-9 ._-]", "-", f"{package} to {version}")[:64].rstrip())
    return _TEXT.format(name=name, package=json.dumps(package), version=json.dumps(version), deadline=now + LASTS)
