"""Why an order is not carried out: a code of the contract, one sentence and, where it helps, a reason for machines."""

from __future__ import annotations

from typing import Literal

Reason = Literal[
    "",
    # UntrustedRelease: who vouches for it
    "Expired",  # metadata whose time is over, or a host whose clock is wrong
    "RolledBackMetadata",  # older than what this host has seen
    "WrongSignature",  # too few signatures of those whose word counts
    "MixedMetadata",  # documents that do not belong together
    "UnreadableMetadata",
    "NotOffered",  # nobody vouches for such a release
    "BadDescription",  # signed, and not of its form, or that of another release
    # UntrustedRelease: the bytes
    "TooLong",  # more than was announced, without an end perhaps
    "WrongBytes",
    "BadArchive",
    # DownloadFailed
    "NotReachable",  # no connection, or it broke off
    "NotServed",  # the server answers, but not with what was asked for
    "TooShort",
    "TooSlow",  # the order's patience was over first
]
"""What a machine may tell refusals of one code apart by; the report's `details` hold it."""


class Refusal(Exception):
    """The order ends here. `code` is one of contract.CODES; the text says what was found and what to do."""

    def __init__(self, code: str, text: str, reason: Reason = "") -> None:
        super().__init__(text)
        self.code, self.text, self.reason = code, text, reason


class Unwell(Exception):
    """A version did not show that it is well; `output` is what its health command said.

    `passing`: what failed said itself that it is not the version's fault. It is taken back and may be tried again.
    """

    def __init__(self, text: str, output: str = "", *, passing: bool = False) -> None:
        super().__init__(text)
        self.text, self.output, self.passing = text, output, passing
