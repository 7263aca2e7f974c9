#!/usr/bin/env bash
# install.sh BIN REQUIREMENTS: put hashed requirements and this project into an environment.
set -euo pipefail
echo "installing $2 ..."
"$1/pip" install --quiet --disable-pip-version-check --require-hashes -r "$2"
"$1/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
