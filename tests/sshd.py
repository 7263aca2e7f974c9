"""A real sshd of the test's own: on loopback, with its own keys and configuration, as its own process."""

import getpass
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from journeys.installation import free_ports

SSHD = "/usr/sbin/sshd"
CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
AllowTcpForwarding {forwarding}
MaxStartups 100
"""


class Sshd:
    """One SSH server. Its logins are those of the user that runs the test."""

    def __init__(self, folder: Path, *, forwarding: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.forwarding = folder, forwarding
        (self.port,) = free_ports(1)
        self.user = getpass.getuser()
        self.process: subprocess.Popen[bytes] | None = None
        self.new_host_key()

    def new_host_key(self) -> None:
        """Replace the host key, as a host does that is installed anew."""
        key = self.folder / "host_key"
        for each in (key, self.folder / "host_key.pub"):
            each.unlink(missing_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)

    @property
    def host_key(self) -> str:
        return " ".join((self.folder / "host_key.pub").read_text().split()[:2])

    @property
    def fingerprint(self) -> str:
        words = ["ssh-keygen", "-l", "-f", str(self.folder / "host_key.pub")]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[1]

    def admit(self, public_key: str) -> None:
        """Let this key, and no other one, log in."""
        (self.folder / "authorized_keys").write_text(public_key + "\n")

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        config = self.folder / "sshd_config"
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd separates its privileges there
        forwarding = "yes" if self.forwarding else "no"
        config.write_text(CONFIG.format(port=self.port, folder=self.folder, forwarding=forwarding))
        with (self.folder / "sshd.log").open("ab") as log:
            words = [SSHD, "-D", "-e", "-f", str(config)]
            self.process = subprocess.Popen(words, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        until = time.monotonic() + 30
        while b"Server listening" not in (self.folder / "sshd.log").read_bytes():
            assert self.process.poll() is None, (self.folder / "sshd.log").read_text()
            assert time.monotonic() < until
            time.sleep(0.05)

    def cut_connections(self) -> None:
        """Kill the processes that serve connections, as a broken line does; the listener stays."""
        for pid in self._children():
            os.kill(pid, signal.SIGKILL)

    def _children(self) -> list[int]:
        assert self.process is not None
        file = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in file.read_text().split()]

    def stop(self) -> None:
        """End it and its connections."""
        if self.process is not None and self.process.poll() is None:
            self.cut_connections()
            self.process.terminate()
            self.process.wait(10)
        (self.folder / "sshd.log").unlink(missing_ok=True)


@contextmanager
def running_sshd(folder: Path, *, forwarding: bool = False) -> Iterator[Sshd]:
    """Run an sshd."""
    made = Sshd(folder, forwarding=forwarding)
    made.start()
    try:
        yield made
    finally:
        made.stop()
