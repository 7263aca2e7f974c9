#!/usr/bin/env bash
# system_packages.sh COMMAND:PACKAGE...: make sure that commands exist, installing Debian packages for those that do not.
set -euo pipefail
missing=()
for wanted in "$@"; do
  case "$wanted" in
    --always) continue ;;
    *:*) command -v "${wanted%%:*}" >/dev/null || missing+=("${wanted#*:}") ;;
    *) missing+=("$wanted") ;;
  esac
done
[ ${#missing[@]} -eq 0 ] && exit 0
if ! command -v apt-get >/dev/null; then
  echo "Please install: ${missing[*]}" >&2
  exit 1
fi
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
echo "installing ${missing[*]} ..."
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
