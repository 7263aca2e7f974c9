"""What a rollout refuses."""


class RolloutMissing(Exception):
    """The account has no such rollout."""


class MemberMissing(Exception):
    """The rollout has no such member."""


class NotNow(Exception):
    """The rollout's state does not allow it; the text says what is found and what to do."""


class NameTaken(Exception):
    """Another rollout of this name, with another policy, has not ended. The text is its id."""

    def __init__(self, rollout_id: str, *, goes_back: bool) -> None:
        super().__init__(rollout_id)
        self.goes_back = goes_back


class NotAnApprover(Exception):
    """This person may not approve; the text says why."""


class CalendarMissing(Exception):
    """The account has no such calendar."""


class CalendarInUse(Exception):
    """A rollout that has not ended names it. The text is that rollout's id."""


class TooManyCalendars(Exception):
    """The account has as many as it may. The text is that number."""
