"""Write tests/seconds.json anew from the last `make test` that was made here: `keep_seconds.py [--project FOLDER]`.

Files that did not run keep their seconds; those that are gone, or take less than LEAST_SECONDS, have no line.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

LEAST_SECONDS = 5


def merged(kept: Mapping[str, float], measured: Mapping[str, float], project: Path) -> dict[str, int]:
    """Return the table: the longest first."""
    found = {file: round(seconds) for file, seconds in {**kept, **measured}.items() if (project / file).exists()}
    long = [(file, seconds) for file, seconds in found.items() if seconds >= LEAST_SECONDS]
    return dict(sorted(long, key=lambda entry: (-entry[1], entry[0])))


def main() -> None:
    """Run as the docstring of this file says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--project", type=Path, default=Path(__file__).parent.parent)
    project = parser.parse_args().project
    table = project / "tests" / "seconds.json"
    measured = project / ".cache" / "test_seconds.json"
    if not measured.exists():
        raise SystemExit(f"{measured} does not exist: run `make test` first")
    found = merged(json.loads(table.read_text()), json.loads(measured.read_text()), project)
    table.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{table}: {len(found)} files, {sum(found.values())} s")


if __name__ == "__main__":
    main()
