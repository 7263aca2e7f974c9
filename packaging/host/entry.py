"""Where the self-contained host program begins: as itself, or as the Python that its own processes are started with.

The agent starts each task as `sys.executable -I -S -c TEXT ARGUMENTS`. Here sys.executable is this program, so it takes
these arguments as Python would.
"""

import os
import sys
from collections.abc import MutableMapping

AS_PYTHON = ["-I", "-S", "-c"]


def restore_library_path(environment: MutableMapping[str, str]) -> None:
    """Give what this program starts the library path that it was started with itself.

    PyInstaller points LD_LIBRARY_PATH to the libraries of this program. Other programs of the host, as `openssl`, a
    backup client or a script, must not load those instead of their own. What this process loads later is not affected,
    since the loader reads the variable only once.
    Source: PyInstaller manual, "LD_LIBRARY_PATH / LIBPATH considerations".
    """
    environment.pop("LD_LIBRARY_PATH", None)
    if "LD_LIBRARY_PATH_ORIG" in environment:
        environment["LD_LIBRARY_PATH"] = environment.pop("LD_LIBRARY_PATH_ORIG")


if __name__ == "__main__":
    restore_library_path(os.environ)
    if sys.argv[1:4] == AS_PYTHON and len(sys.argv) > 4:
        text = sys.argv[4]
        sys.argv = ["-c", *sys.argv[5:]]
        exec(compile(text, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - text of its own
    else:
        from backfleet_host.__main__ import main

        sys.exit(main())
