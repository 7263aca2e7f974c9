"""Errors of this package: reasons why a release cannot be offered."""


class ReleaseRefused(ValueError):
    """A release cannot be offered. `code` is the API's; the text says what is wrong and what to do."""

    def __init__(self, text: str, code: str = "InvalidParameter.Release") -> None:
        super().__init__(text)
        self.code = code


class ReleaseConflict(ReleaseRefused):
    """The release contradicts one that exists: a version never changes once it was offered."""

    def __init__(self, text: str) -> None:
        super().__init__(text, "ReleaseConflict")


class TooManyReleases(ReleaseRefused):
    """Signed metadata would be larger than hosts accept."""

    def __init__(self, text: str) -> None:
        super().__init__(text, "QuotaExceeded.Release")


class UnusualPackage(ReleaseRefused):
    """A package is new, and its name is so close to another that it is probably a slip."""

    def __init__(self, text: str) -> None:
        super().__init__(text, "UnusualPackageName")
