"""What a rollout refuses."""


class RolloutMissing(Exception):
    """The account has no such rollout."""


class MemberMissing(Exception):
    """The rollout has no such member."""


class NotNow(Exception):
    """The rollout's state does not allow it; the text says what is found and what to do."""


class NameTaken(Exception):
    """Another rollout of this name, with another policy, has not ended. The text is its id."""


class NotAnApprover(Exception):
    """This person may not approve; the text says why."""
