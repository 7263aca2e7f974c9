"""The pictures of the console's documentation: an installation to look at, and a browser that draws its pages.

    make docs

draws them again. A test compares what docs/console.md names with what is drawn here.
"""

from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from backfleet import fleet
from backfleet.backups._tables import runs
from backfleet.fleet._tables import clients, instances
from backfleet.rollouts._tables import members, rollouts
from backfleet.rollouts.model import RingRun
from backfleet.rollouts.records import write_rings
from backfleet.rollouts.states import RingState
from documents import PROJECT
from endpoints.console.site import Browser
from endpoints.console.visitor import Visitor
from operations.environment import REGION, Environment

FOLDER: Final = PROJECT / "docs/pictures"
LARGEST: Final = 150 * 1000  # bytes
SITES: Final = ("Lyon", "Nantes", "Paris")
POLICY: Final = """# Three hosts first, then the rest after somebody has looked.
name = "courier to 2.4"
package = "courier"
version = "2.4"
deadline = "2099-01-01T00:00:00Z"
ring = [{ name = "canary", count = 3 }, { name = "half", percent = 50, gates = [{ kind = "soak", hours = 2 }] },
        { name = "rest", gates = [{ kind = "approval" }] }]
[failure]
max_failed = 2
"""


def furnish(env: Environment, admin: Browser) -> dict[str, str]:
    """Make a fleet in the middle of a rollout. Return the address of each picture's page, by the picture's name."""
    for version in ("2.3", "2.4"):
        env.release(version)
    account = env.root.account_id
    for number in range(30):
        host = env.host(name=f"web-{number:02d}", silent=number == 17)
        env.client(host, "2.2" if number == 8 else "2.3")
        with env.services.database.transaction() as tx:
            tx.run(sa.update(instances).where(instances.c.id == host).values(os_version="Debian 12"))
            fleet.set_tags(tx, account, REGION, "instance", [host], {"site": SITES[number % 3]})
    admin.get("/rollouts/new")
    made = admin.post("/rollouts/new", {"policy": POLICY, "action": "start"})
    assert made.status == 303, made.text
    rollout = made.location.removeprefix("/console")
    _let_time_pass(env)
    with env.services.database.reading() as tx:
        first = tx.rows(sa.select(members.c.instance_id).order_by(members.c.ring, members.c.rank))[0].instance_id
    return {
        "fleet.png": "/fleet",
        "rollout.png": rollout,
        "host.png": f"/hosts/{first}",
        "explorer.png": "/explorer/backfleet/ListRuns",
        "tester.png": "/access/tester?kind=user&name=admin&operation=hbr+UpgradeBackupClients",
    }


def _let_time_pass(env: Environment) -> None:
    """Have some members succeed, one fail and some be busy; and give the first host a week of backups."""
    states = ["succeeded"] * 8 + ["failed"] + ["verifying"] * 2 + ["upgrading"] * 2
    with env.services.database.transaction() as tx:
        found = tx.rows(sa.select(members).order_by(members.c.ring, members.c.rank))
        for member, state in zip(found, states, strict=False):
            one = members.c.client_id == member.client_id
            code = "Upgrade.Unhealthy" if state == "failed" else ""
            tx.run(sa.update(members).where(one).values(state=state, since=env.now, code=code))
            if state in ("succeeded", "verifying"):
                tx.run(sa.update(clients).where(clients.c.id == member.client_id).values(version="2.4"))
        rings = (
            RingRun(RingState.FINISHED, env.now, env.now),
            RingRun(RingState.RUNNING, env.now),
            RingRun(RingState.PENDING),
        )
        tx.run(sa.update(rollouts).values(rings=write_rings(rings)))
        at = {"client_id": found[0].client_id, "instance_id": found[0].instance_id, "package": "courier"}
        whose = {"account_id": env.root.account_id, "region": REGION, "user": "root", "caller": "cron"}
        tx.add(runs, [{**at, **whose, "id": f"{number}", "version": "2.3", "is_backup": True,
                       "begun_at": env.now - timedelta(hours=4 * number), "code": number == 11,
                       "ended_at": env.now - timedelta(hours=4 * number) + timedelta(minutes=9),
                       "result": "failed" if number == 11 else "succeeded"} for number in range(1, 43)])  # fmt: skip


def draw(ann: Visitor, pages: dict[str, str]) -> None:
    """Draw each page as its file."""
    FOLDER.mkdir(exist_ok=True)
    for name, path in pages.items():
        ann.go(path)
        ann.page.screenshot(path=FOLDER / name, animations="disabled")
