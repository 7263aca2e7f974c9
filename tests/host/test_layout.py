"""Where things are on a host."""

from pathlib import Path

import pytest

from backfleet_host.layout import DEFAULT_ROOT, Places, policy_folder, system_folder


@pytest.mark.parametrize(
    ("root", "system", "policy"),
    [
        pytest.param(DEFAULT_ROOT, "/", "/etc/backfleet", id="the default root"),
        pytest.param(Path("/srv/host-1"), "/srv/host-1", "/srv/host-1/etc/backfleet", id="another root"),
    ],
)
def test_another_root_is_a_host_of_its_own(root: Path, system: str, policy: str) -> None:
    """Nothing outside of it is read or changed."""
    assert (system_folder(root), policy_folder(root)) == (Path(system), Path(policy))


def test_files_of_the_agent_stay_where_earlier_builds_expect_them() -> None:
    """A running fleet has agents of earlier builds, and may be put back to them."""
    places = Places(Path("/opt/backfleet"))
    names = ("agent", "identity", "key", "authority", "lock", "boot", "tasks", "program", "trusted_root")
    assert [str(getattr(places, name).relative_to("/opt/backfleet")) for name in names] == [
        "agent",
        "agent/identity.json",
        "agent/key.pem",
        "agent/ca.pem",
        "agent/lock",
        "agent/boot",
        "agent/tasks",
        "agent/program",
        "trust/root.json",
    ]
