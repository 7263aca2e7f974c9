#!/usr/bin/env bash
# new_venv.sh PYTHON FOLDER: make a virtual environment, installing Debian's venv package if it is missing.
set -euo pipefail
"$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Backfleet needs Python 3.11 or newer; $1 is $("$1" -V). Try: make PYTHON=python3.12 ..." >&2; exit 1; }
if ! "$1" -m venv "$2" >/dev/null 2>&1; then
  rm -rf "$2"
  "$(dirname "$0")/system_packages.sh" --always python3-venv
  "$1" -m venv "$2"
fi
