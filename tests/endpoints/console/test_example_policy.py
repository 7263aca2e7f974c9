"""The policy that the console begins with is one that a server takes, whatever the release is called."""

import re
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from backfleet.endpoints.console.example_policy import example_policy
from backfleet.rollouts.policy import read_policy
from backfleet_host.layout import PACKAGE, VERSION

NOW = datetime(2026, 2, 28, 23, 30, tzinfo=UTC)
NAMES = st.text(max_size=30) | st.from_regex(PACKAGE, fullmatch=True)
VERSIONS = st.text(max_size=30) | st.from_regex(VERSION, fullmatch=True)


@given(NAMES, VERSIONS)
def test_a_policy_for_every_release_says_what_it_was_asked_for_and_else_there_is_none(
    package: str, version: str
) -> None:
    text = example_policy(package, version, NOW)
    if not text:
        assert not (re.fullmatch(PACKAGE, package) and re.fullmatch(VERSION, version))
        return
    policy = read_policy(text)
    assert (policy.package, policy.version) == (package, version)
    assert [ring.name for ring in policy.rings] == ["canary", "rest"]
    assert policy.deadline == datetime(2026, 3, 14, 23, 30, tzinfo=UTC)
