"""Where the self-contained host program begins: itself, or the Python that its own processes are started with.

The agent starts each task as `sys.executable -I -S -c TEXT words`. Here sys.executable is this program, so it takes
these words as Python would.
"""

import sys

AS_PYTHON = ["-I", "-S", "-c"]

if sys.argv[1:4] == AS_PYTHON and len(sys.argv) > 4:
    text = sys.argv[4]
    sys.argv = ["-c", *sys.argv[5:]]
    exec(compile(text, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - its own words
else:
    from backfleet_host.__main__ import main

    sys.exit(main())
