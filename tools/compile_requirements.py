"""Compile requirements/*.txt from pyproject.toml, with hashes and without index addresses."""

import subprocess
import sys
from pathlib import Path

COMMON = [
    "pip", "compile", "--quiet", "--upgrade", "--universal", "--python-version", "3.11", "--generate-hashes",
    "--no-header", "--no-emit-index-url", "--no-emit-find-links",
]  # fmt: skip
# Each file, what goes into it, and the file it must agree with.
FILES = [
    ("run", ["pyproject.toml"], None),
    ("host", ["--group", "pyproject.toml:host"], "run"),
    ("demo", ["pyproject.toml", "--group", "pyproject.toml:demo"], "run"),
    (
        "test",
        ["pyproject.toml", "--extra", "otel", "--extra", "s3", "--extra", "ssm", "--group", "pyproject.toml:test"],
        "demo",
    ),
    ("bench", ["--group", "pyproject.toml:bench"], None),
    ("moto", ["--group", "pyproject.toml:moto"], None),
    ("shims", ["--group", "pyproject.toml:shims"], None),
]

uv = Path(sys.executable).with_name("uv")
for name, sources, agreeing_with in FILES:
    constraint = ["--constraint", f"requirements/{agreeing_with}.txt"] if agreeing_with else []
    subprocess.run([uv, *COMMON, *sources, *constraint, "--output-file", f"requirements/{name}.txt"], check=True)
