"""A backup that never pauses: a tree of files, copied again and again by the client under test."""

import os
import random
import subprocess
import threading
import time
from pathlib import Path

FILES = 300
FILE_BYTES = 4096
PAUSE_SECONDS = 0.3  # between two backups: more often than any real schedule


def make_tree(folder: Path) -> Path:
    """Make a few hundred small files in a few folders, the same in every run; return the folder."""
    numbers = random.Random(1)
    for number in range(FILES):
        file = folder / f"folder-{number % 10}" / f"file-{number}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(numbers.randbytes(FILE_BYTES))
    return folder


class BackupLoop(threading.Thread):
    """Runs the client through its shim until it is stopped; counts runs and failures."""

    def __init__(self, rclone: Path, tree: Path, target: Path) -> None:
        super().__init__(daemon=True)
        self.rclone, self.tree, self.target = rclone, tree, target
        self.runs, self.failures, self.last_error = 0, 0, ""
        self._stopping = threading.Event()

    def run(self) -> None:
        """Back up, again and again, into two copies in turn, every file each time."""
        while not self._stopping.is_set():
            done = self._call("copy", self.tree, self.target / str(self.runs % 2))
            self.runs += 1
            if done.returncode:
                self.failures += 1
                self.last_error = done.stderr[-500:]
            time.sleep(PAUSE_SECONDS)

    def stop(self) -> None:
        """Let the running backup finish, then end."""
        self._stopping.set()
        if self.is_alive():
            self.join()

    def verify(self) -> bool:
        """Return whether the client finds every copy equal to its source."""
        return all(self._call("check", self.tree, copy).returncode == 0 for copy in sorted(self.target.iterdir()))

    def _call(self, *words: object) -> subprocess.CompletedProcess[str]:
        # The client's own configuration must not come from the person who runs the demo.
        environment = os.environ | {"RCLONE_CONFIG": os.devnull}
        command = [str(self.rclone), *map(str, words), "--ignore-times" if words[0] == "copy" else "--one-way"]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
