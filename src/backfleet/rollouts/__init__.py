"""A fleet moves to one version: in rings, behind checks, inside windows, within a budget. Knows no words of the API.

Owns the tables `rollouts`, `rollout_members`, `rollout_events`, `rollout_approvals`, `rollout_answers`,
`rollout_heads`, `rollout_tokens` and `calendars`. Publishes and subscribes to `rollouts`; subscribes to
`backups`, too. Decisions are pure:
`strategy` decides for the worker and for the simulator alike.

    read_policy, preview, create: from a policy's text to a rollout
    start, pause, resume, cancel, approve, hold, retry, roll_back: what persons do
    find, find_all, members, events: read
    prepare_simulation, simulate: how a policy would go, in virtual time
    notifying: which rollouts notify a destination
    seal: sign everything that is stored of a rollout, as evidence
    put_calendar, calendar, calendars, delete_calendar: lists of freezes that policies name
    Worker: decides, and sends orders as tasks
"""

from backfleet.idempotency import TokenReused
from backfleet.rollouts._calendars import CalendarRecord
from backfleet.rollouts.approving import approve
from backfleet.rollouts.by import By
from backfleet.rollouts.calendars import calendar, calendars, delete_calendar, put_calendar
from backfleet.rollouts.creating import create, preview
from backfleet.rollouts.errors import (
    CalendarInUse,
    CalendarMissing,
    MemberMissing,
    NameTaken,
    NotAnApprover,
    NotNow,
    RolloutMissing,
    TooManyCalendars,
)
from backfleet.rollouts.events import Event, broken_at
from backfleet.rollouts.evidence import EvidenceKey
from backfleet.rollouts.going_back import roll_back
from backfleet.rollouts.judging import Judge, ReadJudge
from backfleet.rollouts.member_verbs import hold, retry
from backfleet.rollouts.notifying import notifying
from backfleet.rollouts.outside import Asker
from backfleet.rollouts.planning import PinnedMember, Plan
from backfleet.rollouts.policy import Fault, Policy, PolicyRefused, read_policy
from backfleet.rollouts.reading import (
    RolloutView,
    created_before,
    events,
    find_all,
    members,
    remember_creation,
    view,
    view_latest,
)
from backfleet.rollouts.records import MemberRecord, RolloutRecord
from backfleet.rollouts.sealing import SignedHead, Witness, seal
from backfleet.rollouts.sending import TOPIC
from backfleet.rollouts.simulating import Prepared, prepare_simulation, simulate
from backfleet.rollouts.simulation import FailuresRefused
from backfleet.rollouts.states import MemberState, RingState, RolloutState
from backfleet.rollouts.timetable import LONGEST_CALENDAR, MOST_EVENTS, CalendarRefused, as_calendar
from backfleet.rollouts.verbs import cancel, find, pause, purge, resume, start
from backfleet.rollouts.worker import Worker

__all__ = [
    "LONGEST_CALENDAR",
    "MOST_EVENTS",
    "TOPIC",
    "Asker",
    "By",
    "CalendarInUse",
    "CalendarMissing",
    "CalendarRecord",
    "CalendarRefused",
    "Event",
    "EvidenceKey",
    "FailuresRefused",
    "Fault",
    "Judge",
    "MemberMissing",
    "MemberRecord",
    "MemberState",
    "NameTaken",
    "NotAnApprover",
    "NotNow",
    "PinnedMember",
    "Plan",
    "Policy",
    "PolicyRefused",
    "Prepared",
    "ReadJudge",
    "RingState",
    "RolloutMissing",
    "RolloutRecord",
    "RolloutState",
    "RolloutView",
    "SignedHead",
    "TokenReused",
    "TooManyCalendars",
    "Witness",
    "Worker",
    "approve",
    "as_calendar",
    "broken_at",
    "calendar",
    "calendars",
    "cancel",
    "create",
    "created_before",
    "delete_calendar",
    "events",
    "find",
    "find_all",
    "hold",
    "members",
    "notifying",
    "pause",
    "prepare_simulation",
    "preview",
    "purge",
    "put_calendar",
    "read_policy",
    "remember_creation",
    "resume",
    "retry",
    "roll_back",
    "seal",
    "simulate",
    "start",
    "view",
    "view_latest",
]
