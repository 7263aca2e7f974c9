"""Why an order fails: a code of the contract, one sentence and, where codes are too coarse, a reason for programs."""

from __future__ import annotations

import errno
from typing import FrozenSet, Literal

Reason = Literal[
    "",
    # UntrustedRelease: the metadata
    "Expired",  # its time is over, or the clock of the host is wrong
    "RolledBackMetadata",  # older than what this host has seen
    "WrongSignature",  # too few signatures of trusted keys
    "MixedMetadata",  # documents that do not belong together
    "UnreadableMetadata",
    "NotOffered",  # no signed metadata names such a release
    "BadDescription",  # signed, but malformed, or the description of another release
    # UntrustedRelease: the bytes
    "TooLong",  # more than was announced, perhaps without an end
    "WrongBytes",
    "BadArchive",
    # DownloadFailed
    "NotReachable",  # no connection, or it broke off
    "NotServed",  # the server answered, but not with what was asked for
    "TooShort",
    "TooSlow",  # the order's time was over first
    "NotAllowed",  # the order names an address that this host does not download from
    # HostBusy: the order is deferred
    "RebootPending",
    "HighLoad",
    "ReadOnlyRoot",  # the host is still booting, or its disk had an error
    # HostBusy
    "NotAnswering",  # a file system with preserved state, or with what is run
    # ManagedElsewhere: what somebody put into the installed version's tree
    "InTheWay",  # it cannot be carried over
    # UnsupportedPlatform: the mount
    "NoSuid",  # file capabilities have no effect there
    "NoExec",  # no program can be run there
    # UnsupportedPlatform: the host program
    "UnknownScheme",  # it is too old to compare the versions of this package
    # RolledBack: the new version, or a probe of the host
    "TimedOut",  # its process tree was killed at its time limit
    "TemporaryFailure",  # exit code 75 until its time was over: not the version's fault
    "FailedBefore",  # the version before it had failed in the same way: not the version's fault
    "ShimFails",  # its health command runs, and its shim does not, for some user
]
"""Tells failures with the same code apart. A report has it in its `details`."""

DEFERRED: FrozenSet[Reason] = frozenset({"RebootPending", "HighLoad", "ReadOnlyRoot"})
"""Reasons for which an order is deferred: the host is fine, nothing was touched, and a later order may succeed."""


class OrderFailed(Exception):
    """The order cannot be carried out. `code` is one of contract.CODES; the text says what was found and what to do."""

    def __init__(self, code: str, text: str, reason: Reason = "") -> None:
        super().__init__(text)
        self.code, self.text, self.reason = code, text, reason


class NotAnswering(OSError):
    """A file system that preserved state is on does not answer: its server or its program is away or hangs."""

    reason: Reason = "NotAnswering"

    def __init__(self, path: str, seconds: float) -> None:
        """Name the path that was reached last, and for how many seconds nothing has moved."""
        super().__init__(errno.ETIMEDOUT, f"its file system has not answered for {seconds:.0f} s", path)

    @property
    def text(self) -> str:
        """What was found and what to do."""
        return f"{self.filename}, state to preserve: {self.strerror}; mend or unmount it, or name less under `keeps`"


class Unhealthy(Exception):
    """A version did not show that it is healthy.

    Attributes:
        output: what its command printed.
        passing: the cause may pass and is not the version's fault. The version is rolled back, but not quarantined.
        reason: tells what programs must tell apart; "" for everything else.
        is_private: the output is that of a command of this host's administrator, and may hold secrets.
        cannot_start: the commands that cannot even be started.
    """

    def __init__(
        self, text: str, output: str = "", *, passing: bool = False, reason: Reason = "", is_private: bool = False
    ) -> None:
        super().__init__(text)
        self.cannot_start: FrozenSet[str] = frozenset()
        self.text, self.output, self.passing, self.reason, self.is_private = text, output, passing, reason, is_private
