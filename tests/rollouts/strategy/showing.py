"""What a person is shown of a member, from what the strategy decides on."""

from datetime import datetime

from backfleet.rollouts.model import Member, Rollout
from backfleet.rollouts.reading import wait_reason
from backfleet.rollouts.records import RolloutRecord, write_rings


def reason_of(rollout: Rollout, member: Member, waits_for: str, now: datetime) -> str:
    """Return what a member waits for."""
    record = RolloutRecord(
        id=rollout.id,
        account_id=rollout.account_id,
        region="cn-hangzhou",
        name=rollout.policy.name,
        policy=TEXT + "\n".join(f'[[ring]]\nname = "{ring.name}"\ncount = 1' for ring in rollout.policy.rings),
        policy_sha256="",
        package="courier",
        kind="upgrade",
        state=rollout.state,
        author="",
        created_at=now,
        updated_at=now,
        deadline=rollout.policy.deadline,
        rings=write_rings(rollout.rings),
        reason=rollout.reason,
        waits_for=waits_for,
    )
    return wait_reason(record, member, now)


TEXT = """
name = "any"
package = "courier"
version = "2.0"
deadline = "2099-01-01T00:00:00Z"
"""
