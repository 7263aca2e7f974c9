"""The wheel, installed as a user does: into an empty environment, and walked with nothing of the checkout in reach."""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import build_wheel
from journeys.installation import Installation

INSTALL_SECONDS = 400  # of 36 distributions, on a loaded machine


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel.build(tmp_path_factory.mktemp("wheel"))


def test_the_same_sources_give_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    """On any day, and whatever an earlier build has left."""
    first, second = (hashlib.sha256(path.read_bytes()) for path in (wheel, build_wheel.build(tmp_path)))
    assert first.hexdigest() == second.hexdigest()


def test_a_wheel_that_lacks_something_is_refused(wheel: Path, tmp_path: Path) -> None:
    """A server without its host program starts, and no host can enrol with it."""
    poor = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(poor, "w") as written:
        for name in whole.namelist():
            if name != "backfleet/backfleet-host.pyz":
                written.writestr(name, whole.read(name))
    build_wheel.check(wheel)
    with pytest.raises(build_wheel.CannotBuild, match=r"lacks backfleet/backfleet-host"):
        build_wheel.check(poor)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_user_installs_the_wheel_and_upgrades_a_host(wheel: Path, tmp_path: Path) -> None:
    """Server, enrolment, release, install and upgrade, all with what `pip install` put there, and nothing for tests."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    bin_folder = tmp_path / "venv" / "bin"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, env=environment)
    words = [bin_folder / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel]
    subprocess.run(words, check=True, cwd=tmp_path, env=environment, timeout=INSTALL_SECONDS)
    listed = subprocess.run(
        [bin_folder / "python", "-m", "pip", "list", "--format=freeze"],
        check=True, capture_output=True, text=True, env=environment,
    ).stdout.lower()  # fmt: skip
    assert not {"pytest", "ruff", "alibabacloud-hbr20170908", "pyrage"} & {
        line.partition("==")[0] for line in listed.split()
    }
    found = subprocess.run(
        [bin_folder / "python", "-c", "import backfleet.host_program as found; print(found.find())"],
        check=True, capture_output=True, text=True, cwd=tmp_path, env=environment,
    ).stdout.strip()  # fmt: skip
    assert Path(found).is_relative_to(tmp_path / "venv")
    server = Installation(
        tmp_path / "there", program=[bin_folder / "backfleet"], host_program=[bin_folder / "python", found]
    )
    server.folder.mkdir()
    try:
        server.start()
        server.enrol(1)
        server.install("1.0")
        server.add_release("2.0")
        (host,) = server.hosts
        started = server.call("UpgradeBackupClients", InstanceIds=[host.instance_id])
        assert [item["errorCode"] for item in server.finished(started["TaskId"])["Result"]] == [""]
        assert host.runs() == "courier 2.0"
        checked = subprocess.run(
            [bin_folder / "backfleet", "backup", tmp_path / "copy", "--plain", "--data", server.data],
            check=False, capture_output=True, text=True, env=environment,
        )  # fmt: skip
        assert checked.returncode == 0, checked.stderr
    finally:
        server.close()
