"""One name for each architecture, whoever asks: the host, its enrolment, the server, and who adds a release."""

import os
import re
from pathlib import Path

import pytest

from backfleet_host import platforms
from backfleet_host.agent import machine
from backfleet_host.agent.protocol.address import Address
from backfleet_host.agent.protocol.signing import python_signer
from backfleet_host.agent.setup.registration import EnrolmentOptions, registration_fields
from backfleet_host.platforms import platform_here

OPTIONS = EnrolmentOptions(Address("127.0.0.1", 1), Path("ca.pem"), "act-1", "code")
KEY = python_signer.make_key(512)

DEBIAN = [  # Debian's architecture, `uname -m` on it, the release's name
    ("amd64", "x86_64", "amd64"),
    ("x32", "x86_64", "amd64"),
    ("i386", "i386", "386"),
    ("i386", "i486", "386"),
    ("i386", "i586", "386"),
    ("i386", "i686", "386"),
    ("hurd-i386", "i686-AT386", "386"),
    ("arm64", "aarch64", "arm64"),
    ("armhf", "armv7l", "armv7l"),
    ("armhf", "armv8l", "armv8l"),  # in a 32-bit personality of a 64-bit kernel
    ("armel", "armv4tl", "armv4tl"),
    ("armel", "armv5tel", "armv5tel"),
    ("armel", "armv5tejl", "armv5tejl"),
    ("armel", "armv6l", "armv6l"),
    ("ppc64el", "ppc64le", "ppc64le"),
    ("ppc64", "ppc64", "ppc64"),
    ("powerpc", "ppc", "ppc"),
    ("s390x", "s390x", "s390x"),
    ("riscv64", "riscv64", "riscv64"),
    ("loong64", "loongarch64", "loongarch64"),
    ("mips64el", "mips64", "mips64"),
    ("alpha", "alpha", "alpha"),
    ("hppa", "parisc", "parisc"),
    ("hppa", "parisc64", "parisc64"),
    ("ia64", "ia64", "ia64"),
    ("m68k", "m68k", "m68k"),
    ("sh4", "sh4a", "sh4a"),
    ("sparc64", "sparc64", "sparc64"),
]


def on(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Be on a machine whose kernel says this."""
    here = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((here[0], here[1], here[2], here[3], name)))


@pytest.mark.parametrize(("debian", "uname", "name"), DEBIAN)
def test_every_part_names_an_architecture_alike(
    monkeypatch: pytest.MonkeyPatch, debian: str, uname: str, name: str
) -> None:
    """A host enrols under the name that its upgrader insists on; the server reads the same from the official agent."""
    on(monkeypatch, uname)
    wanted = f"linux-{name}"
    assert platforms.platform_here() == wanted
    assert platform_here() == wanted
    enrolled_as = registration_fields(OPTIONS, KEY, "restricted")["platform"]
    assert enrolled_as == wanted
    assert platforms.platform_of(enrolled_as, "linux", "") == wanted
    assert platforms.platform_of("", "Linux", machine.os_version()) == wanted
    assert re.fullmatch(platforms.PLATFORM, wanted)


@pytest.mark.parametrize(("debian", "uname", "name"), DEBIAN)
def test_the_name_of_a_name_is_itself(debian: str, uname: str, name: str) -> None:
    assert platforms.canonical(f"linux-{name}") == f"linux-{name}"
    assert platforms.canonical(platforms.canonical(f"linux-{uname}")) == f"linux-{name}"


def test_no_spelling_stands_for_two_architectures() -> None:
    spellings = [each for name, others in platforms.ARCHITECTURES.items() for each in (name, *others)]
    assert len(spellings) == len(set(spellings))


@pytest.mark.parametrize("spelling", ["i386", "i486", "i586", "i686"])
def test_a_host_that_enrolled_under_an_older_name_is_known_by_the_new_one(spelling: str) -> None:
    """An i686 host was enrolled as linux-i686, and its upgrader insisted on linux-386."""
    assert platforms.canonical(f"linux-{spelling}") == "linux-386"
    assert platforms.platform_of(f"linux-{spelling}", "linux", "") == "linux-386"


@pytest.mark.parametrize(
    ("reported", "os_type", "os_version", "found"),
    [
        pytest.param("linux-quantum9", "linux", "", "linux-quantum9", id="unknown to us"),
        pytest.param("linux-mips", "linux", "", "linux-mips", id="32-bit MIPS, which Debian has given up"),
        pytest.param("", "linux", "Linux_#1 SMP_quantum9", "", id="unknown in the OS version"),
        pytest.param("", "linux", "", "", id="nothing"),
        pytest.param("Linux-amd64", "linux", "Linux_#1_x86_64", "linux-amd64", id="not of the form"),
        pytest.param("linux-amd64/..", "linux", "Linux_#1_aarch64", "linux-arm64", id="a path"),
        pytest.param("", "li/nux", "Linux_#1_x86_64", "", id="a system that is none"),
        pytest.param("", "Windows", "Windows_10_amd64", "windows-amd64", id="another system"),
    ],
)
def test_a_host_that_says_something_else(reported: str, os_type: str, os_version: str, found: str) -> None:
    assert platforms.platform_of(reported, os_type, os_version) == found


def test_a_platform_without_architecture_stays_as_it_is() -> None:
    assert platforms.canonical("") == ""
    assert platforms.canonical("linux") == "linux"
