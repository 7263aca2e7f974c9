"""What the room says no to. `kind` is a word of the RAM API: User, User.AccessKey, Policy, User.Policy, ..."""


class NotFound(Exception):
    """The account has no `kind` of this name; whether another account has one is not said."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{kind} {name} does not exist")
        self.kind, self.name = kind, name


class AlreadyExists(Exception):
    """The account has a `kind` of this name."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{kind} {name} exists")
        self.kind, self.name = kind, name


class StillInUse(Exception):
    """It cannot be deleted while it has, or is had by, a `kind`."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{name} is still in use: {kind}")
        self.kind, self.name = kind, name


class LimitReached(Exception):
    """No more than `limit` of `kind` are taken."""

    def __init__(self, kind: str, limit: int) -> None:
        super().__init__(f"at most {limit} of {kind}")
        self.kind, self.limit = kind, limit


class Unchangeable(Exception):
    """It is not for the account to change."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{kind} {name} cannot be changed")
        self.kind, self.name = kind, name
