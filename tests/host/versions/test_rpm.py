"""Versions of RPM packages compare as rpm compares them."""

import random
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet_host.versions import scheme_of
from host.versions.real_versions import pairs_of, sign, upstream_versions

RPM = scheme_of("rpm")
VERSIONS = st.from_regex(r"\A([0-9]{1,2}:)?[0-9A-Za-z][0-9a-c.~^_+]{0,6}(-[0-9][0-9a-c.~^]{0,3})?\Z")


def refused_by_rpm(pairs: list[tuple[str, str]], folder: Path) -> list[tuple[str, str]]:
    """Return the pairs that rpm compares in another way, by the comparison in its Lua interpreter."""
    (folder / "pairs").write_text("".join(f"{one} {other}\n" for one, other in pairs))
    script = (
        f'for line in io.lines("{folder}/pairs") do local one, other = line:match("(%S+) (%S+)"); '
        'print(rpm.vercmp(one, other) .. ";") end'
    )
    run = subprocess.run(["rpm", "--eval", f"%{{lua:{script}}}"], capture_output=True, text=True, check=True)
    answers = [int(answer) for answer in re.findall(r"-?[01](?=;)", run.stdout)]
    assert len(answers) == len(pairs), run.stderr
    ours = [sign(RPM.order_of(one), RPM.order_of(other)) for one, other in pairs]
    return [pair for pair, mine, theirs in zip(pairs, ours, answers, strict=True) if mine != theirs]


def test_real_versions_compare_as_rpm_compares_them(tmp_path: Path) -> None:
    """Versions as their authors wrote them."""
    written = [version for version in upstream_versions() if re.fullmatch(r"[A-Za-z0-9._+~^]+", version)]
    assert len(written) > 200
    assert refused_by_rpm(pairs_of(written, 8000), tmp_path) == []


def test_made_up_versions_compare_as_rpm_compares_them(tmp_path: Path) -> None:
    """Every sign beside every other, those that separate and those that do not."""
    chance = random.Random(4)
    made = ["1" + "".join(chance.choices("019a.+~^_zA", k=chance.randint(0, 5))) for _ in range(3000)]
    assert refused_by_rpm(pairs_of(made, 8000), tmp_path) == []


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.0", "2.0"),
        ("2.0", "2.0.1"),
        ("2.0.1", "2.0.1a"),
        ("5.5p1", "5.5p10"),
        ("10xyz", "10.1xyz"),
        ("xyz10", "xyz10.1"),
        ("xyz.4", "8"),
        ("5.5p10", "5.6p1"),
        (
            "6.5p1",
            "5.6p1",
        )[::-1],
        ("1.0~rc1", "1.0"),
        ("1.0~rc1", "1.0~rc2"),
        ("1.0~rc1~git123", "1.0~rc1"),
        ("1.0", "1.0^"),
        ("1.0^git1", "1.0^git2"),
        ("1.0^git1", "1.01"),
        ("1.0^20160101", "1.0.1"),
        ("1.0~rc1^git1", "1.0"),
        ("1.0^git1~pre", "1.0^git1"),
        ("2.9", "1:0.1"),
        ("1.0-1", "1.0-2"),
        ("1.0-9.fc40", "1.0-10.fc40"),
        ("1.0", "1.0-1"),
        ("1.0~rc1-9", "1.0-1"),
    ],
)
def test_versions_compare_as_rpm_documents_it(older: str, newer: str) -> None:
    """The table of rpm's own tests, and epochs and releases around it; a missing release is older than any."""
    assert RPM.is_older(older, newer)
    assert RPM.is_newer(newer, older)


@pytest.mark.parametrize(
    ("one", "other"), [("1.0", "1_0"), ("1.05", "1.5"), ("0:1", "1"), ("1.0.", "1.0"), ("2.0+", "2.0"), ("fc4", "fc.4")]
)
def test_versions_may_be_equal_and_written_differently(one: str, other: str) -> None:
    """What separates segments counts for nothing."""
    assert RPM.is_equal(one, other)


@pytest.mark.parametrize("version", ["", "1:", ":1", "a:1", "1-", "-1", "1-2-3", "1 0", "1/0", "1%0", "4294967296:1"])
def test_what_is_not_of_the_form_is_refused(version: str) -> None:
    assert RPM.order_of(version) is None


@given(VERSIONS, VERSIONS, VERSIONS)
def test_the_order_is_total(a: str, b: str, c: str) -> None:
    x, y, z = map(RPM.order_of, (a, b, c))
    assert (x < y) + (x == y) + (x > y) == 1
    assert sign(x, y) == -sign(y, x)
    assert not (x <= y <= z) or x <= z
