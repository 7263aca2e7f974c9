"""The copy that an agent unpacks of its archive: one that lost something is made anew before a start from it."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from backfleet_host.agent.execution.host_program import COPIES, unpack
from backfleet_host.layout import Places

CONTENTS = {"__main__.py": b"print('it runs')\n", "backfleet_host/agent/running.py": b"x = 1\n" * 500, "empty.py": b""}


@pytest.fixture
def places(tmp_path: Path) -> Places:
    found = Places(tmp_path / "root")
    found.agent.mkdir(parents=True)
    return found


def packed(folder: Path, version: str = "1.0") -> Path:
    file = folder / f"{version}.pyz"
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in {**CONTENTS, "version": version.encode()}.items():
            archive.writestr(name, content)
    return file


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def is_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("lose", [Path.unlink, emptied, cut, is_a_folder])
@pytest.mark.parametrize("name", ["__main__.py", "backfleet_host/agent/running.py"])
def test_a_copy_that_lost_a_file_is_unpacked_anew(
    tmp_path: Path, places: Places, name: str, lose: Callable[[Path], object]
) -> None:
    archive = packed(tmp_path)
    copy = unpack(places, archive)
    lose(copy / name)
    assert unpack(places, archive) == copy
    assert {each: (copy / each).read_bytes() for each in CONTENTS} == CONTENTS
    assert [path.name for path in places.program.iterdir()] == [copy.name], "nothing half-made is left"


def test_a_copy_that_lost_a_whole_folder_is_unpacked_anew(tmp_path: Path, places: Places) -> None:
    archive = packed(tmp_path)
    copy = unpack(places, archive)
    shutil.rmtree(copy / "backfleet_host")
    unpack(places, archive)
    assert (copy / "backfleet_host" / "agent" / "running.py").read_bytes() == CONTENTS[
        "backfleet_host/agent/running.py"
    ]


def test_an_intact_copy_stays_with_what_python_compiled(tmp_path: Path, places: Places) -> None:
    """Else every start would compile everything again."""
    archive = packed(tmp_path)
    compiled = unpack(places, archive) / "__pycache__" / "running.pyc"
    compiled.parent.mkdir()
    compiled.write_bytes(b"compiled")
    unpack(places, archive)
    assert compiled.read_bytes() == b"compiled"


def test_copies_of_the_newest_programs_stay(tmp_path: Path, places: Places) -> None:
    """Processes may still run from them. One that is used again is the newest."""
    copies = [unpack(places, packed(tmp_path, f"{number}.0")) for number in range(COPIES)]
    unpack(places, packed(tmp_path, "0.0"))
    newest = unpack(places, packed(tmp_path, "9.0"))
    assert set(places.program.iterdir()) == {copies[0], *copies[2:], newest}
