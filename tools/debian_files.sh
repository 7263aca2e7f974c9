#!/usr/bin/env bash
# debian_files.sh FOLDER: fetch files that tests compare with out of Debian packages. Nothing is installed or started.
set -euo pipefail
folder=$1
mkdir -p "$folder"
if ! command -v apt-get >/dev/null; then
  echo "no apt-get here: tests with promtool and with cloud-init's schema are skipped" >&2
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
take() { # PACKAGE PATH NAME
  [ -e "$folder/$3" ] && return
  (cd "$work" && chmod 755 . && apt-get download -qq "$1" 2>/dev/null) || { echo "apt-get cannot fetch $1: its tests are skipped" >&2; return; }
  dpkg-deb --fsys-tarfile "$work/$1"_*.deb | tar -xO "./$2" > "$work/file"
  chmod 755 "$work/file"
  mv "$work/file" "$folder/$3"
}
take prometheus usr/bin/promtool promtool
take cloud-init usr/lib/python3/dist-packages/cloudinit/config/schemas/schema-cloud-config-v1.json cloud-init.json
