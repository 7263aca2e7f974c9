"""Whether what failed after the switch is the new version's own fault: only then is it quarantined."""

from __future__ import annotations

import re
import resource
from typing import Tuple

from backfleet_host.upgrader.errors import Unhealthy
from backfleet_host.upgrader.transaction.plan import Baseline
from backfleet_host.upgrader.transaction.rollback import Cause

LIMITS = {"v": resource.RLIMIT_AS, "d": resource.RLIMIT_DATA, "f": resource.RLIMIT_FSIZE, "t": resource.RLIMIT_CPU}
"""Limits that no process has by itself, by the letters of `ulimit`. What we verify inherits ours."""

_TREE = re.compile(r"/(versions/[^/\s]+|current)/")
_NUMBER = re.compile(r"\\?\b(0x[0-9a-fA-F]+|v?\d+(\\?\.\d+)*)\b")
_TRACEBACK = "Traceback (most recent call last):"


def words_of(problem: Unhealthy, version: str) -> str:
    """Return how a version failed: what is wrong and the line that says why, without what differs between versions."""
    lines = [line.strip() for line in problem.output.splitlines() if line.strip()]
    why = "" if not lines else lines[-1] if _TRACEBACK in lines else lines[0]
    text = f"{problem.text}\n{why}".replace(version, "#").replace(re.escape(version), "#")
    return _NUMBER.sub("#", _TREE.sub("/#/", text))


def cause_of(problem: Unhealthy, version: str, baseline: Baseline, from_version: str) -> Tuple[Cause, bool]:
    """Return why a version is rolled back, and whether the version before it had failed with the same words.

    Args:
        version: the one that failed.
        from_version: the version before it; "" = none.
    """
    text, no_verdict = problem.text, problem.passing
    if problem.reason:
        text = f"{problem.reason}: {text}"
    failed_before = bool(baseline.words) and words_of(problem, version) == baseline.words
    limits = limits_of_ours()
    if failed_before:
        text = f"{text}; {from_version} had failed in the same way before the switch, so {version} is not quarantined"
        no_verdict = True
    if limits and not no_verdict:
        text = f"{text}; the agent runs with {limits}, so {version} is not quarantined; start the agent without it"
        no_verdict = True
    return Cause("RolledBack", text, not no_verdict, problem.output, problem.is_private), failed_before


def limits_of_ours() -> str:
    """Return which limits of this process a version may have failed at, as `ulimit` has them; "" if there are none."""
    found = [f"`ulimit -{letter}`" for letter, limit in LIMITS.items() if _is_set(limit)]
    return ", ".join(found)


def _is_set(limit: int) -> bool:
    return resource.getrlimit(limit)[0] != resource.RLIM_INFINITY
