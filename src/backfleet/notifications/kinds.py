"""What people are notified of: one table."""

from enum import StrEnum
from typing import Final

from backfleet.values import value_object


class Kind(StrEnum):
    """A kind of notification. The value is the `type` of webhooks."""

    TASK_FAILED = "task.failed"
    ROLLOUT_HALTED = "rollout.halted"
    ROLLOUT_WAITING = "rollout.waiting"
    ROLLOUT_ENDED = "rollout.ended"
    HOST_LOST = "host.lost"
    HOST_DEAF = "host.deaf"
    HOST_CLONED = "host.cloned"
    CLIENT_CHANGED = "client.changed"
    BACKUP_OVERDUE = "backup.overdue"
    BELOW_MINIMUM = "version.below-minimum"
    CERTIFICATE_ENDING = "certificate.ending"
    ROOT_ENDING = "root.ending"
    SIGNATURE_PENDING = "signature.pending"
    SERVER_RESTORED = "server.restored"
    TEST = "test"


@value_object
class Described:
    """What a kind means. `{}` is the number of things that it is about."""

    subject: str
    of_server: bool = False  # about the installation: for the administrator account


KINDS: Final[dict[Kind, Described]] = {
    Kind.TASK_FAILED: Described("{} tasks ended with failures"),
    Kind.ROLLOUT_HALTED: Described("{} rollouts are halted"),
    Kind.ROLLOUT_WAITING: Described("{} rollouts wait for an approval"),
    Kind.ROLLOUT_ENDED: Described("{} rollouts ended"),
    Kind.HOST_LOST: Described("{} hosts are not heard of"),
    Kind.HOST_DEAF: Described("{} hosts cannot be given work"),
    Kind.HOST_CLONED: Described("{} identities are used by several hosts"),
    Kind.CLIENT_CHANGED: Described("{} clients were changed on their hosts"),
    Kind.BACKUP_OVERDUE: Described("{} clients have missed a backup"),
    Kind.BELOW_MINIMUM: Described("clients of {} packages are below the minimum version"),
    Kind.CERTIFICATE_ENDING: Described("{} certificates of the server end soon", of_server=True),
    Kind.ROOT_ENDING: Described("{} files of the signed metadata end soon", of_server=True),
    Kind.SIGNATURE_PENDING: Described("{} files of the signed metadata wait for a signature", of_server=True),
    Kind.SERVER_RESTORED: Described("the server was restored, and is held", of_server=True),
    Kind.TEST: Described("this is a test"),
}

LASTING: Final = frozenset(KINDS) - {Kind.TEST}
"""Kinds that are conditions: people are notified when one begins, and again if it comes back after it was over."""
