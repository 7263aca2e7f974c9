"""Checks of an account's hosts and clients."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from backfleet import backups, fleet, upgrades
from backfleet.checks import Finding, Severity, named_some
from backfleet.checks.finding import MOST_NAMED
from backfleet.filter_expressions import HOST_SCHEME
from backfleet.fleet import Watched
from backfleet.host_program import OLDEST_SUPPORTED
from backfleet.operations.catalogue import Call
from backfleet.storage import Transaction

MOST: Final = 1000  # hosts or clients that one check counts
MOST_SKEW: Final = timedelta(seconds=60)  # of a host's clock
BEHIND: Final = ("Behind",)
WITHDRAWN: Final = ("Withdrawn",)


def check_hosts(tx: Transaction, call: Call) -> Iterator[Finding]:
    """Check every host and every client of the caller's account."""
    yield _reachable(tx, call)
    yield _silent(tx, call)
    yield _deaf(tx, call)
    yield _cloned(tx, call)
    yield _clocks(tx, call)
    yield _programs(tx, call)
    yield _changed(tx, call)
    yield _quarantined(tx, call)
    yield from _versions(tx, call)
    yield _backups(tx, call)


def about(code: str, healthy: str, severity: Severity, of: Sequence[Watched], found: str, advice: str) -> Finding:
    """Return a finding about hosts or clients: `found` has {} for how many, and their names follow it."""
    if not of:
        return Finding.ok(code, healthy)
    number = f"at least {MOST}" if len(of) >= MOST else str(len(of))
    names = named_some([f"{each.name}{f' ({each.what})' if each.what else ''}" for each in of])
    return Finding(code, severity, f"{found.format(number)}: {names}", advice, [each.id for each in of[:MOST_NAMED]])


def _reachable(tx: Transaction, call: Call) -> Finding:
    since = call.now - timedelta(seconds=call.services.settings.fit_seconds)
    reachable, _ = fleet.count_presence(tx, call.account_id, reachable_since=since)
    return Finding.ok("Hosts", f"{reachable} of {fleet.count_instances(tx, call.account_id)} can be given work")


def _silent(tx: Transaction, call: Call) -> Finding:
    heard_since = call.now - timedelta(seconds=call.services.settings.lost_seconds)
    advice = (
        "see on the host: `backfleet-host doctor`. If it is gone for good: `backfleet instance deregister`; "
        "if it is switched off on purpose, NoteInstanceStopped says so"
    )
    hosts = fleet.lost(tx, call.account_id, heard_since=heard_since, limit=MOST)
    healthy, found = "none, of those that were not shut down", "{} host(s) were not heard of lately"
    return about("HostsSilent", healthy, Severity.ERROR, hosts, found, advice)


def _deaf(tx: Transaction, call: Call) -> Finding:
    since = call.now - timedelta(seconds=call.services.settings.fit_seconds)
    advice = (
        "an official agent connects again within 30 minutes: see ConnectsTime in `backfleet instance show`, or restart "
        "the agent on the host; a proxy on the way must let WebSockets through"
    )
    found = "{} host(s) send heartbeats but have no connection, and cannot be given work"
    hosts = fleet.deaf(tx, call.account_id, since=since, limit=MOST)
    return about("HostsDeaf", "none", Severity.ERROR, hosts, found, advice)


def _cloned(tx: Transaction, call: Call) -> Finding:
    cloned = [Watched(each, each, "", None) for each in fleet.cloned(tx, call.account_id, now=call.now)]
    advice = "see Clones in `backfleet instance show`, and run `backfleet-host enrol --new-identity` on the copies"
    found = "{} instance(s) are used by several hosts, and get no work"
    return about("HostsCloned", "each instance is one host", Severity.ERROR, cloned, found, advice)


def _clocks(tx: Transaction, call: Call) -> Finding:
    heard_since = call.now - timedelta(seconds=call.services.settings.lost_seconds)
    hosts = fleet.with_wrong_clocks(tx, call.account_id, heard_since=heard_since, most=MOST_SKEW, limit=MOST)
    advice = "`timedatectl set-ntp true` there; times that such a host reports are put right by the difference"
    found = "the clocks of {} host(s) are off"
    return about("HostClocks", "all within a minute of ours", Severity.WARNING, hosts, found, advice)


def _programs(tx: Transaction, call: Call) -> Finding:
    counted = fleet.count_host_versions(tx, call.account_id)
    old = [version for version in counted if HOST_SCHEME.is_older(version, OLDEST_SUPPORTED)]
    advice = "upgrade it: docs/host-program.md for the package, apt for a .deb, else replace the file"
    found = f"the host program of {{}} host(s) is older than {OLDEST_SUPPORTED}, the oldest that this server supports"
    hosts = fleet.with_host_versions(tx, call.account_id, old, limit=MOST)
    return about("HostPrograms", f"{OLDEST_SUPPORTED} or newer", Severity.WARNING, hosts, found, advice)


def _changed(tx: Transaction, call: Call) -> Finding:
    advice = "see Drift in `backfleet instance show`; the next order mends what is ours"
    found = "{} client(s) differ from what their last order left, in files or modes"
    changed = fleet.changed(tx, call.account_id, limit=MOST)
    return about("ClientsChanged", "as their last orders left them", Severity.WARNING, changed, found, advice)


def _quarantined(tx: Transaction, call: Call) -> Finding:
    found = "{} client(s) rolled a version back, and do not try it for a while"
    advice = (
        "see why in `backfleet task show`, and withdraw the release if it is bad (`backfleet release withdraw`); "
        "else it is tried again after the hours that the host policy says"
    )
    clients = fleet.quarantined(tx, call.account_id, now=call.now, limit=MOST)
    return about("VersionsQuarantined", "none", Severity.WARNING, clients, found, advice)


def _versions(tx: Transaction, call: Call) -> Iterator[Finding]:
    installed = fleet.count_installed(tx, call.account_id)
    summaries = upgrades.summaries(tx, {(package, platform, channel) for package, _, platform, channel in installed})
    behind: dict[str, int] = {}
    withdrawn: dict[str, int] = {}
    for (package, version, platform, channel), (number, _) in installed.items():
        offer = summaries.get((package, platform, channel))
        state = "" if offer is None else offer.state_of(version)
        for found, states in ((behind, BEHIND), (withdrawn, WITHDRAWN)):
            if state in states:
                found[f"{package} {version}"] = found.get(f"{package} {version}", 0) + number
    advice = "`backfleet client upgrade` takes them to the newest version that is offered, `client roll-back` back"
    yield _counted("ClientsWithdrawn", Severity.WARNING, withdrawn, "have a version that was withdrawn", advice)
    yield _counted("ClientsBehind", Severity.NOTE, behind, "are behind what is offered", advice)


def _counted(code: str, severity: Severity, found: dict[str, int], what: str, advice: str) -> Finding:
    if not found:
        return Finding.ok(code, f"no clients {what}")
    most = sorted(found, key=lambda each: (-found[each], each))
    named = named_some([f"{found[each]} with {each}" for each in most])
    return Finding(code, severity, f"{sum(found.values())} client(s) {what}: {named}", advice, most[:MOST_NAMED])


def _backups(tx: Transaction, call: Call) -> Finding:
    late = [
        Watched(each.client_id, each.client_id, f"expected by {each.expected_by:%Y-%m-%d %H:%M} UTC", None)
        for each in backups.overdue(tx, call.account_id, call.services.settings.region, now=call.now)[:MOST]
    ]
    advice = "see `backfleet client runs --overdue`, and the host's timers or crontab"
    found = "of {} client(s) the next backup did not begin when it usually does"
    return about("BackupsOverdue", "none, of those whose rhythm is known", Severity.ERROR, late, found, advice)
