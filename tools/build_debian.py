#!/usr/bin/env python3
"""Build Debian packages of the server and of the host program: `build_debian.py FOLDER [--only server|host]`.

`backfleet` is the wheel and the packages of requirements/run.txt, as they are installed in this environment and as
their installer wrote them, in a virtual environment of the machine's own Python below /usr/lib/backfleet. It is for
machines with the same Python and architecture. `backfleet-host` is the host program, for every machine.
"""

import argparse
import contextlib
import gzip
import io
import os
import platform
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

import build_host_program
import build_wheel
import write_completions
import write_man_pages
from backfleet import VERSION
from backfleet.cli._completion import SHELLS

PROJECT = Path(__file__).resolve().parent.parent
TEXTS = PROJECT / "packaging" / "debian"
UNITS = PROJECT / "packaging" / "systemd"
LIBRARY = PurePosixPath("usr/lib/backfleet")
LONG_AGO = 315532800  # 1980-01-01
COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/backfleet",
    "zsh": "usr/share/zsh/vendor-completions/_backfleet",
    "fish": "usr/share/fish/vendor_completions.d/backfleet.fish",
}
LAUNCHER = """\
#!/usr/lib/backfleet/bin/python3 -I
import sys

from backfleet.cli import main

sys.exit(main())
"""
OVERRIDES = """\
# Packages of other projects, with their libraries, as their own builds made them.
backfleet: copyright-file-lacks-pointer-to-perl-license
backfleet: custom-library-search-path
backfleet: embedded-library
backfleet: executable-in-usr-lib
backfleet: extra-license-file
backfleet: library-not-linked-against-libc
backfleet: package-contains-timestamped-gzip
backfleet: script-not-executable
backfleet: shared-library-is-executable
backfleet: shared-library-lacks-prerequisites
backfleet: unstripped-binary-or-object
backfleet: unusual-interpreter
# Shims for hosts of every architecture, which need no library of the host.
backfleet: binary-from-other-architecture
backfleet: statically-linked-binary
# It runs in a virtual environment of the machine's own Python.
backfleet: wrong-path-for-interpreter
# Addresses of databases have passwords in them.
backfleet: non-standard-file-perm
"""
COMMON_OVERRIDES = """\
# Who builds the package names a maintainer: --maintainer.
{0}: bogus-mail-host
{0}: bogus-mail-host-in-debian-changelog
# The host program asks which package owns a file before it puts its own there.
{0}: uses-dpkg-database-directly
"""
MAINTAINER = "Backfleet <backfleet@localhost>"
Files = dict[str, tuple[bytes, int]]
CHANGED = re.compile(r"^(.*\.pth|.*/RECORD|.*/direct_url\.json|.*/INSTALLER|.*/REQUESTED)$")


class CannotBuild(Exception):
    """A package could not be built; the text is one line."""


def main() -> int:
    """Build, and print the paths; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--maintainer", default=MAINTAINER, metavar="'NAME <MAIL>'")
    parser.add_argument("--only", choices=["server", "host"])
    asked = parser.parse_args()
    try:
        for name in [asked.only] if asked.only else BUILDERS:
            print(BUILDERS[name](asked.folder, asked.maintainer))
    except (CannotBuild, build_host_program.CannotBuild, build_wheel.CannotBuild) as problem:
        print(f"build_debian: {problem}", file=sys.stderr)
        return 1
    return 0


def build_host(folder: Path, maintainer: str = MAINTAINER) -> Path:
    """Build the package of the host program; return its path."""
    with tempfile.TemporaryDirectory(prefix="backfleet-deb-") as there:
        program = Path(there) / "backfleet-host.pyz"
        build_host_program.build(program)
        content = program.read_bytes()
    ours = b"#!/usr/bin/python3".ljust(len(build_host_program.SHEBANG) - 1) + b"\n"  # the archive stays where it is
    files = documents("backfleet-host") | {
        "usr/bin/backfleet-host": (ours + content[len(ours) :], 0o755),
        "lib/systemd/system/backfleet-host.service": ((TEXTS / "backfleet-host.service").read_bytes(), 0o644),
        "usr/share/man/man8/backfleet-host.8.gz": (zipped(write_man_pages.host_page()), 0o644),
    }
    for shell, text in write_completions.scripts().items():
        files[COMPLETIONS[shell].replace("backfleet", "backfleet-host")] = (text.encode(), 0o644)
    control = {
        "Package": "backfleet-host",
        "Architecture": "all",
        "Depends": "python3 (>= 3.10), init-system-helpers (>= 1.52)",
        "Recommends": "openssl",
        "Description": "agent that lets a Backfleet server upgrade this host's backup client\n"
        " It fetches signed releases, switches to them without losing a backup, and goes\n"
        " back by itself where a version is unhealthy.",
    }
    return pack(folder, maintainer, control, files, scripts_of("backfleet-host"), [])


def build_server(folder: Path, maintainer: str = MAINTAINER) -> Path:
    """Build the package of the server and its command line; return its path."""
    python = f"python3.{sys.version_info.minor}"
    packages = LIBRARY / "lib" / python / "site-packages"
    files = documents("backfleet") | dict(wheel_files(packages)) | dict(package_files(packages))
    for unit in ("backfleet.service", "backfleet-http.socket", "backfleet-https.socket"):
        text = (UNITS / unit).read_text().replace("/opt/backfleet-server/bin/backfleet", "/usr/bin/backfleet")
        text = text.replace("[Unit]\n", "[Unit]\nDocumentation=man:backfleet-serve(1)\n", 1)
        files[f"lib/systemd/system/{unit}"] = (text.encode(), 0o644)
    for name, page in write_man_pages.pages().items():
        if name != "backfleet-host.8":
            files[f"usr/share/man/man1/{name}.gz"] = (zipped(page), 0o644)
    for shell in SHELLS:
        words = [sys.executable, "-m", "backfleet.cli", "completion", shell]
        files[COMPLETIONS[shell]] = (subprocess.run(words, check=True, capture_output=True).stdout, 0o644)
    files |= {
        str(LIBRARY / "pyvenv.cfg"): (b"home = /usr/bin\ninclude-system-site-packages = false\n", 0o644),
        str(LIBRARY / "bin" / "backfleet"): (LAUNCHER.encode(), 0o755),
        "etc/backfleet/server.env": ((UNITS / "server.env").read_bytes(), 0o600),
    }
    links = [
        (str(LIBRARY / "bin" / "python3"), "../../../bin/python3"),
        ("usr/bin/backfleet", "../lib/backfleet/bin/backfleet"),
    ]
    control = {
        "Package": "backfleet",
        "Architecture": subprocess.run(
            ["dpkg", "--print-architecture"], check=True, capture_output=True, text=True
        ).stdout.strip(),
        "Depends": f"python3 (>= 3.{sys.version_info.minor}), python3 (<< 3.{sys.version_info.minor + 1}), adduser, "
        f"init-system-helpers (>= 1.52), libc6 (>= {platform.libc_ver()[1]})",
        "Suggests": "postgresql, backfleet-host",
        "Description": "control plane that upgrades the backup clients of a fleet\n"
        " It reaches each host through an agent, and every host ends in a definite state.\n"
        " Its API is that of Alibaba Cloud Backup's client operations.",
    }
    return pack(folder, maintainer, control, files, scripts_of("backfleet"), links)


def wheel_files(packages: PurePosixPath) -> Iterator[tuple[str, tuple[bytes, int]]]:
    """Yield path, content and mode of the files of our own wheel."""
    with tempfile.TemporaryDirectory(prefix="backfleet-deb-") as there:
        with contextlib.redirect_stdout(io.StringIO()):
            wheel = build_wheel.build(Path(there))
        with zipfile.ZipFile(wheel) as opened:
            for name in opened.namelist():
                if not CHANGED.match(name):
                    yield str(packages / name), (opened.read(name), 0o644)


def package_files(packages: PurePosixPath) -> Iterator[tuple[str, tuple[bytes, int]]]:
    """Yield path, content and mode of the files of all pinned packages.

    Raises:
        CannotBuild: one is missing, has another version, or a file is not as its installer wrote it.
    """
    for name, version in sorted(build_host_program.read_pins(PROJECT / "requirements" / "run.txt").items()):
        try:
            package = distribution(name)
        except PackageNotFoundError:
            raise CannotBuild(f"{name} is not installed; run `make venv`") from None
        if package.version != version:
            raise CannotBuild(
                f"{name} is {package.version} here and {version} in requirements/run.txt; run `make venv`"
            )
        yield from files_of(package, packages)


def files_of(package: Distribution, packages: PurePosixPath) -> Iterator[tuple[str, tuple[bytes, int]]]:
    """Yield what one package consists of, without its programs, tests and caches."""
    for entry in package.files or []:
        name = entry.as_posix()
        parts = name.split("/")
        if (
            ".." in parts
            or parts[-1].startswith(".git")
            or {"__pycache__", "tests", "testing"} & set(parts)
            or CHANGED.match(name)
        ):
            continue
        content = Path(str(entry.locate())).read_bytes()
        if entry.hash is not None and build_host_program.digest(entry.hash.mode, content) != entry.hash.value:
            raise CannotBuild(f"{name} is not what its installer wrote; install {package.metadata['Name']} again")
        yield str(packages / name), (content, 0o644)


def documents(package: str) -> Files:
    """Return the files that every package has about itself."""
    changes = f"{package} ({VERSION}) unstable; urgency=medium\n\n  * See CHANGELOG.md of the project.\n\n"
    changes += f" -- {MAINTAINER}  Tue, 01 Jan 1980 00:00:00 +0000\n"
    folder = f"usr/share/doc/{package}"
    overrides = COMMON_OVERRIDES.format(package) + (OVERRIDES if package == "backfleet" else "")
    return {
        f"{folder}/copyright": ((TEXTS / "copyright").read_bytes(), 0o644),
        f"{folder}/changelog.gz": (zipped(changes), 0o644),
        f"usr/share/lintian/overrides/{package}": (overrides.encode(), 0o644),
    }


def scripts_of(package: str) -> dict[str, bytes]:
    """Return the maintainer scripts of a package by their names in it."""
    return {file.suffix[1:]: file.read_bytes() for file in TEXTS.glob(f"{package}.p*")}


def zipped(text: str) -> bytes:
    """Return text as gzip without a date in it: the same text gives the same bytes."""
    return gzip.compress(text.encode(), 9, mtime=0)


def pack(
    folder: Path,
    maintainer: str,
    control: dict[str, str],
    files: Files,
    scripts: dict[str, bytes],
    links: list[tuple[str, str]],
) -> Path:
    """Write a package with dpkg-deb; return its path."""
    size = sum(len(content) for content, _ in files.values()) // 1024 + 1
    description = control.pop("Description")
    fields = {
        "Version": VERSION, "Maintainer": maintainer, "Section": "admin", "Priority": "optional",
        "Installed-Size": str(size), **control, "Description": description,
    }  # fmt: skip
    fields = {"Package": fields.pop("Package")} | fields
    target = folder / f"{fields['Package']}_{VERSION}_{fields['Architecture']}.deb"
    with tempfile.TemporaryDirectory(prefix="backfleet-deb-") as there:
        root = Path(there)
        root.chmod(0o755)
        for path, (content, mode) in files.items():
            put(root / path, content, mode)
        for path, to in links:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).symlink_to(to)
        text = "".join(f"{name}: {value}\n" for name, value in fields.items())
        put(root / "DEBIAN" / "control", text.encode(), 0o644)
        for name, content in scripts.items():
            put(root / "DEBIAN" / name, content, 0o755)
        settings = "".join(f"/{path}\n" for path in files if path.startswith("etc/"))
        if settings:
            put(root / "DEBIAN" / "conffiles", settings.encode(), 0o644)
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zxz", "-z1", "--build", root, target],
            check=True, capture_output=True, env=os.environ | {"SOURCE_DATE_EPOCH": str(LONG_AGO)},
        )  # fmt: skip
    return target


def put(path: Path, content: bytes, mode: int) -> None:
    """Write a file and the folders above it, with modes that do not depend on the umask."""
    for folder in reversed([each for each in path.parents if not each.exists()]):
        folder.mkdir()
        folder.chmod(0o755)
    path.write_bytes(content)
    path.chmod(mode)


BUILDERS = {"server": build_server, "host": build_host}

if __name__ == "__main__":
    sys.exit(main())
