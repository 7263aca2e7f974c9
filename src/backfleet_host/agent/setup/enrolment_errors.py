"""Why a host could not be enrolled."""

from __future__ import annotations


class CannotEnrol(Exception):
    """Enrolment failed and nothing has changed; the text says why and what to do, in one line."""


class EnrolmentRefused(CannotEnrol):
    """The server refused the registration: a key that was made for it is of no use."""


class ServerAway(CannotEnrol):
    """The server did not answer, or could not: another try may succeed."""
