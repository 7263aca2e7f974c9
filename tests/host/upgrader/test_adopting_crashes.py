"""Taking over and giving back, cut off at every effect: there is always a program, and the same command goes on."""

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backfleet_host.upgrader import adopt, failpoints, give_back
from backfleet_host.upgrader.host.shim import is_ours
from host.upgrader.small_host import PACKAGE, PowerCut, SmallHost, Trouble, watching_calls, with_trouble

Act = Callable[[SmallHost], object]
NUMBERS = itertools.count()


@pytest.fixture
def hosts(tmp_path: Path) -> Callable[[str], SmallHost]:
    numbers = itertools.count()

    def make(where: str) -> SmallHost:
        host = SmallHost(tmp_path / f"host-{next(numbers)}")
        system = host.root / "system"
        (system / "usr/bin").mkdir(parents=True)
        (host.root / "bin").mkdir()
        host.installation = dataclasses.replace(host.installation, system=system)
        host.add("2.0")
        path = place_of(host, where)
        path.write_text("1.0 ")
        path.chmod(0o755)
        return host

    return make


def place_of(host: SmallHost, where: str) -> Path:
    return host.root / where / PACKAGE


def runs_at(host: SmallHost, path: Path) -> str:
    """Return the version that somebody gets who runs what is at a path now."""
    assert os.path.lexists(path), "there is no program"
    if is_ours(path.resolve(), PACKAGE):
        return host.shim_runs()
    assert os.access(path, os.X_OK)
    return path.read_text().strip()


def take(host: SmallHost) -> None:
    adopt(host.installation, PACKAGE)


def give(host: SmallHost) -> None:
    give_back(host.installation, PACKAGE, f"back-{next(NUMBERS)}")


def recover(host: SmallHost) -> None:
    host.carry("recover", order_id=f"recover-{next(NUMBERS)}")


class Watch:
    """Looks before and after every effect whether there is a program."""

    def __init__(self, host: SmallHost, path: Path) -> None:
        self.host, self.path, self.seen = host, path, 0

    def __call__(self, when: str, effect: str, path: str) -> None:
        with watching_calls(None):
            runs_at(self.host, self.path)
        self.seen += 1


@pytest.fixture(params=["system/usr/bin", "bin"], ids=["elsewhere", "where the shim belongs"])
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def not_watched() -> Iterator[None]:
    yield
    failpoints.watch(None)


def test_at_every_moment_there_is_a_program(hosts: Callable[[str], SmallHost], where: str) -> None:
    """Of the version before, or of the one that an order installed."""
    host = hosts(where)
    watch = Watch(host, place_of(host, where))
    failpoints.watch(watch)
    take(host)
    assert host.carry("install", "2.0").outcome == "succeeded"
    assert runs_at(host, watch.path) == "2.0"
    give(host)
    assert (runs_at(host, watch.path), watch.path.is_symlink()) == ("1.0", False)
    assert watch.seen > 100


def cuts_of(make: Callable[[], SmallHost], act: Act) -> list[Trouble]:
    """Return a power cut before the first effect, after every one, and in the middle of those that have one."""
    host = make()
    with with_trouble(Trouble()) as counted:
        act(host)
    numbers = range(1, len(counted.effects) + 1)
    halves = [Trouble(at, "half") for at in numbers if counted.calls[at - 1] > 1]
    return [Trouble(1), *(Trouble(at, "after") for at in numbers), *halves]


def cut(host: SmallHost, trouble: Trouble, act: Act) -> None:
    with pytest.raises(PowerCut), with_trouble(trouble):
        act(host)


def test_an_adoption_that_was_cut_off_anywhere_goes_on(hosts: Callable[[str], SmallHost], where: str) -> None:
    """By the same command, or with the next order."""
    for trouble, mend in zip(cuts_of(lambda: hosts(where), take), itertools.cycle([take, recover]), strict=False):
        host = hosts(where)
        path = place_of(host, where)
        content = path.stat().st_ino
        cut(host, trouble, take)
        assert runs_at(host, path) == "1.0", trouble
        mend(host)
        assert runs_at(host, path) == "1.0", trouble
        take(host)
        assert (host.version(), host.shim_runs(), host.leftovers()) == ("1.0", "1.0", []), trouble
        give(host)
        assert (path.stat().st_ino, path.read_text()) == (content, "1.0 ")
        assert [each.name for each in path.parent.iterdir()] == [PACKAGE]


def test_giving_back_that_was_cut_off_anywhere_goes_on(hosts: Callable[[str], SmallHost], where: str) -> None:
    def taken() -> SmallHost:
        host = hosts(where)
        take(host)
        host.carry("install", "2.0")
        return host

    for trouble in cuts_of(taken, give):
        host = taken()
        path = place_of(host, where)
        cut(host, trouble, give)
        assert runs_at(host, path) in ("1.0", "2.0"), trouble
        recover(host)
        assert runs_at(host, path) == ("2.0" if host.version() else "1.0"), trouble
        if host.version():
            give(host)
        assert (path.is_symlink(), path.read_text()) == (False, "1.0 "), trouble
        assert [each.name for each in path.parent.iterdir()] == [PACKAGE], trouble
        assert (host.leftovers(), host.trees()) == ([], set()), trouble
