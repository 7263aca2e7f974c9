"""What the parts of a policy must be to each other."""

from typing import Final

from backfleet.client_settings import faults_of
from backfleet.rollouts.policy.checks import Backups, BudgetCheck
from backfleet.rollouts.policy.model import AtDeadline, Kind, Policy, Then
from backfleet.rollouts.policy.sections import Section

GOES_BACK: Final = (Kind.UPGRADE, Kind.SETTINGS)
"""The kinds of rollouts that can be rolled back."""
CARRIED_OUT: Final = (Kind.UPGRADE, Kind.INSTALL, Kind.ROLL_BACK, Kind.PRECHECK, Kind.STAGE, Kind.SETTINGS)
"""What a rollout can do so far."""

_OF_CLIENTS: Final = ("versions", "channels", "clients", "below_minimum")
"""What a selector can say of clients only."""
_OF_HOSTS: Final = ("instance", "platform")
"""What `where` can name of hosts, beside tags."""


def check_policy(policy: Policy, top: Section) -> None:
    """Note every fault that only shows when the parts are seen beside each other."""
    if policy.kind not in CARRIED_OUT:
        top.fault("kind", f"give one of {', '.join(CARRIED_OUT)}; the others are not carried out yet")
    _target(policy, top)
    _rings(policy, top)
    if policy.busy.at_deadline is AtDeadline.WAIT and not policy.busy.grace_minutes:
        top.fault("busy", '`at_deadline = "wait"` needs `grace_minutes`: nothing waits without an end', "no grace")
    _settings(policy, top)
    if policy.kind is Kind.INSTALL:
        _install(policy, top)
    goes_back = policy.failure.then is not Then.HOLD
    if goes_back and policy.kind not in GOES_BACK:
        wanted = f'write `then = "hold"`: only rollouts of the kinds {", ".join(GOES_BACK)} can go back'
        if policy.kind is Kind.INSTALL:
            wanted = f"{wanted}; a host that had no client has no version to go back to"
        top.fault("failure.then", wanted, policy.failure.then.value)


def _install(policy: Policy, top: Section) -> None:
    """Note what selects by facts of clients: the hosts that an install is for have none."""
    selectors = {"select": policy.select} | {f"ring[{at}].select": ring.select for at, ring in enumerate(policy.rings)}
    wanted = "an install is for hosts without this client: leave it out, and select by `tags`, `platforms`, `instances`"
    for path, selector in selectors.items():
        for name, each in ((path, selector), (f"{path}.exclude", selector.exclude if selector else None)):
            if each is None:
                continue
            for key in _OF_CLIENTS:
                if getattr(each, key):
                    top.fault(f"{name}.{key}", wanted, getattr(each, key))
            named = sorted(each.where.fields - set(_OF_HOSTS)) if each.where else []
            if named:
                fields = ", ".join(_OF_HOSTS)
                found = f"{wanted}, or by `where` over {fields} and tags"
                top.fault(f"{name}.where", found, ", ".join(named))


def _settings(policy: Policy, top: Section) -> None:
    if policy.settings and policy.kind is not Kind.SETTINGS:
        top.fault("settings", f'they need `kind = "settings"`; this policy is of kind {policy.kind}', "settings")
    if policy.kind is Kind.SETTINGS and not policy.settings:
        top.fault("settings", 'a policy of kind "settings" needs a table [settings]', "none")
    for name, wanted in faults_of(policy.settings).items():
        top.fault(f"settings.{name}", wanted, policy.settings[name])


def _target(policy: Policy, top: Section) -> None:
    if policy.kind is Kind.SETTINGS:
        for key, found in (("version", policy.version), ("channel", policy.channel)):
            if found:
                top.fault(key, "leave it out: settings go to clients of any version; `[select]` chooses some", found)
    elif not policy.version and not policy.channel and (top.has("version") or top.has("channel")):
        return  # what is wrong with it is said already
    elif bool(policy.version) == bool(policy.channel):
        found = "both" if policy.version else "neither"
        top.fault("version", "give a `version` or a `channel`, one of them", found)


def _rings(policy: Policy, top: Section) -> None:
    rings = policy.rings
    if not rings:
        top.fault("ring", "give at least one ring: [[ring]] with a name", "none")
        return
    names = [ring.name for ring in rings]
    for name in sorted({name for name in names if name and names.count(name) > 1}):
        top.fault("ring", f"each ring has a name of its own; {name!r} is given {names.count(name)} times", name)
    rest = [ring.name for ring in rings if ring.is_the_rest]
    if len(rest) > 1 or (rest and not rings[-1].is_the_rest):
        top.fault("ring", "only the last ring may be the rest: without `count`, `percent` and `select`", rest)
    total = sum(ring.percent or 0 for ring in rings)
    if total > 100:
        top.fault("ring", f"the percentages add up to {total:g}; at most 100 can be taken", f"{total:g} %")
    if any(isinstance(check, Backups | BudgetCheck) and not check.watches for check in rings[0].checks):
        top.fault("ring", "the first ring has none before it: no `backups` and no `budget` gate can hold", names[0])
