#!/usr/bin/env bash
# install.sh BIN REQUIREMENTS: put hashed requirements and this project into an environment.
set -euo pipefail
exec 9> "$1/.installing.lock"  # another `make` may be at it in the same environment
if command -v flock > /dev/null; then flock 9; fi
echo "installing $2 ..."
"$1/pip" install --quiet --disable-pip-version-check --require-hashes -r "$2"
"$1/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
# Once, now: where PYTHONDONTWRITEBYTECODE is set, every process would compile all modules again when it starts.
"$1/python" -m compileall -q "$(dirname "$0")/../src"
