"""Figures for monitoring: how far rollouts are, and what the fleets run. Written to `/metrics` by one loop.

Every process with this loop reports the same figures of the same database: monitoring takes one of them. Their number
is bounded: the newest rollouts, and the commonest versions of each package. Rollouts that ended disappear after an
hour.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from prometheus_client import Gauge

from backfleet import fleet, identity, releases, rollouts, upgrades
from backfleet.operations import measuring_work
from backfleet.operations.catalogue import Services
from backfleet.rollouts import RolloutState, RolloutView

ENDED_STAY: Final = timedelta(hours=1)
MOST_ROLLOUTS: Final = 50
MOST_ACCOUNTS: Final = 100
MOST_VERSIONS: Final = 20  # of a package; the others are summed up
OTHERS: Final = "others"

_RING: Final = ("account", "rollout", "ring")
STATE: Final = Gauge(
    "backfleet_rollout_state", "1 for the state that a rollout is in.",
    ["account", "rollout", "name", "package", "version", "state"],
)  # fmt: skip
MEMBERS: Final = Gauge("backfleet_rollout_members", "Members of a ring, by state.", [*_RING, "state"])
WAIT: Final = Gauge("backfleet_rollout_oldest_wait_seconds", "For how long a member of a ring that runs waits.", _RING)
BUDGET: Final = Gauge(
    "backfleet_rollout_failures_left",
    "How many more members may fail before a rollout halts; below 0 it is spent. Ring is empty for the rollout's own.",
    _RING,
)
CLIENTS: Final = Gauge(
    "backfleet_clients", "Clients, by the version that they have.", ["account", "package", "version"]
)
BEHIND: Final = Gauge("backfleet_clients_behind", "Clients behind what is offered to them.", ["account", "package"])
BELOW: Final = Gauge(
    "backfleet_clients_below_minimum",
    "Clients below the minimum version of their package; due is yes once none should be.",
    ["account", "package", "due"],
)
DRIFT: Final = Gauge("backfleet_clients_drifted", "Clients that differ from what their last order left.", ["account"])
HOST_VERSIONS: Final = Gauge(
    "backfleet_host_programs", "Enrolled instances, by the version of their host program.", ["account", "version"]
)
INSTANCES: Final = Gauge("backfleet_instances", "Enrolled instances: reachable or offline.", ["account", "state"])
_ALL: Final = (STATE, MEMBERS, WAIT, BUDGET, CLIENTS, BEHIND, BELOW, DRIFT, HOST_VERSIONS, INSTANCES)


_BEHIND: Final = ("Behind", "Withdrawn")


class Measuring:
    """Reads the figures of all accounts, and puts them where `/metrics` takes them from."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def run_once(self, now: datetime) -> bool:
        """Measure once; False: there is no more to do at once. What is no more disappears."""
        reachable_since = now - timedelta(seconds=self._services.settings.fit_seconds)
        with self._services.database.reading() as tx:
            shown = rollouts.view_latest(tx, ended_after=now - ENDED_STAY, limit=MOST_ROLLOUTS, now=now)
            accounts = sorted(account.id for account in identity.list_accounts(tx))[:MOST_ACCOUNTS]
            happening = measuring_work.read(tx, self._services.settings, accounts, now)
            installed = {account: fleet.count_installed(tx, account) for account in accounts}
            offers = {
                (package, platform, channel) for found in installed.values() for package, _, platform, channel in found
            }
            summaries = upgrades.summaries(tx, offers)
            region = self._services.settings.region
            minimums = {account: fleet.minimums_of(tx, account, region) for account in accounts}
            below = {
                account: fleet.below_minimums(tx, account, region, found, releases.schemes_of)
                for account, found in minimums.items()
            }
            instances = {
                account: (
                    fleet.count_instances(tx, account),
                    fleet.count_presence(tx, account, reachable_since=reachable_since)[0],
                )
                for account in accounts
            }
            host_versions = {account: fleet.count_host_versions(tx, account) for account in accounts}
        for gauge in _ALL:
            gauge.clear()
        measuring_work.show(happening, now)
        for each in shown:
            _show_rollout(each, now)
        for account in (each for each in accounts if instances[each][0]):
            _show_clients(account, installed[account], summaries)
            for minimum, _, number in below[account]:
                BELOW.labels(account, minimum.package, "yes" if minimum.is_due(now) else "no").set(number)
            for version, number in _commonest(Counter(host_versions[account])):
                HOST_VERSIONS.labels(account, version).set(number)
            number, reachable = instances[account]
            INSTANCES.labels(account, "reachable").set(reachable)
            INSTANCES.labels(account, "offline").set(number - reachable)
        return False


def _show_rollout(shown: RolloutView, now: datetime) -> None:
    record, figures = shown.record, shown.figures
    names = (record.name, record.package, record.target_version)
    STATE.labels(record.account_id, record.id, *names, record.state.value).set(1)
    # Who is rolled back, or goes back later because a person says so, is no reason to be called.
    can_halt = record.ended_at is None and record.state is not RolloutState.ROLLING_BACK
    if figures.budget is not None and can_halt:
        BUDGET.labels(record.account_id, record.id, "").set(figures.budget.left)
    for number, ring in enumerate(shown.rings):
        place = (record.account_id, record.id, ring.name)
        for state, count in ring.counts.items():
            MEMBERS.labels(*place, state).set(count)
        if number in figures.waits_since:
            WAIT.labels(*place).set((now - figures.waits_since[number]).total_seconds())
        if number in figures.own and can_halt:
            BUDGET.labels(*place).set(figures.own[number].left)


def _show_clients(
    account: str,
    installed: dict[tuple[str, str, str, str], tuple[int, int]],
    summaries: dict[upgrades.Offer, upgrades.OfferSummary],
) -> None:
    versions: dict[str, Counter[str]] = defaultdict(Counter)
    behind: Counter[str] = Counter()
    for (package, version, platform, channel), (number, _) in installed.items():
        versions[package][version] += number
        offer = summaries.get((package, platform, channel))
        behind[package] += number if offer is not None and offer.state_of(version) in _BEHIND else 0
    for package, found in sorted(versions.items()):
        BEHIND.labels(account, package).set(behind[package])
        for version, number in _commonest(found):
            CLIENTS.labels(account, package, version).set(number)
    DRIFT.labels(account).set(sum(changed for _, changed in installed.values()))


def _commonest(found: Counter[str]) -> Iterable[tuple[str, int]]:
    common = sorted(found.items(), key=lambda each: (-each[1], each[0]))
    yield from common[:MOST_VERSIONS]
    if common[MOST_VERSIONS:]:
        yield OTHERS, sum(number for _, number in common[MOST_VERSIONS:])
