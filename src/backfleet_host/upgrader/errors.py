"""Why an order fails: a code of the contract, one sentence and, where codes are too coarse, a reason for programs."""

from __future__ import annotations

from typing import Literal

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
]
"""Tells failures with the same code apart. A report has it in its `details`."""


class OrderFailed(Exception):
    """The order cannot be carried out. `code` is one of contract.CODES; the text says what was found and what to do."""

    def __init__(self, code: str, text: str, reason: Reason = "") -> None:
        super().__init__(text)
        self.code, self.text, self.reason = code, text, reason


class Unhealthy(Exception):
    """A version did not show that it is healthy.

    Attributes:
        output: what its command printed.
        passing: the cause may pass and is not the version's fault. The version is rolled back, but not quarantined.
    """

    def __init__(self, text: str, output: str = "", *, passing: bool = False) -> None:
        super().__init__(text)
        self.text, self.output, self.passing = text, output, passing
