"""Refusals of identity's verbs. `kind` is a word of the RAM API: User, User.AccessKey, Policy, User.Policy, ..."""


class NotFound(Exception):
    """The account has no `kind` of this name. Whether another account has one is not revealed."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{kind} {name} does not exist")
        self.kind, self.name = kind, name


class AlreadyExists(Exception):
    """The account has a `kind` of this name already."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{kind} {name} exists already")
        self.kind, self.name = kind, name


class StillInUse(Exception):
    """It cannot be deleted while a `kind` belongs to it or refers to it."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{name} cannot be deleted: it is in use by {kind}")
        self.kind, self.name = kind, name


class LimitReached(Exception):
    """There can be no more than `limit` of `kind`."""

    def __init__(self, kind: str, limit: int) -> None:
        super().__init__(f"there can be at most {limit} of {kind}")
        self.kind, self.limit = kind, limit


class Unchangeable(Exception):
    """The account cannot change it."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{kind} {name} cannot be changed")
        self.kind, self.name = kind, name
