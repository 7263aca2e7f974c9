"""Why a release cannot be offered."""


class ReleaseRefused(ValueError):
    """A release that cannot be offered; `code` is the wire's, the text says what is wrong and what to do."""

    def __init__(self, text: str, code: str = "InvalidParameter.Release") -> None:
        super().__init__(text)
        self.code = code


class ReleaseConflict(ReleaseRefused):
    """It contradicts what is there already: a version never changes once it was offered."""

    def __init__(self, text: str) -> None:
        super().__init__(text, "ReleaseConflict")


class TooManyReleases(ReleaseRefused):
    """Hosts would refuse signed metadata that is larger still."""

    def __init__(self, text: str) -> None:
        super().__init__(text, "QuotaExceeded.Release")
