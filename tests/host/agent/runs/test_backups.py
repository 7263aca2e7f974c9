"""Which runs are backups."""

import pytest

from backfleet_host.agent.runs.backups import is_backup


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("restic backup /data", True),
        ("restic -r repo --password-file f backup /data", True),
        ("restic snapshots", False),
        ("restic forget --tag backup", False),
        ("restic", False),
        ("rclone sync a b", True),
        ("rclone --config c copy a b", True),
        ("rclone ls remote:copy", False),
        ("rclone version", False),
        ("borg create r::a /data", True),
        ("borg list", False),
        ("courier push", True),
        ("courier", False),
        ("courier --version", False),
        ("courier help", False),
    ],
)
def test_a_run_is_a_backup_by_its_first_command(call: str, expected: bool) -> None:
    """Options and paths are not commands."""
    command, *arguments = call.split()
    assert is_backup(command, arguments) is expected
