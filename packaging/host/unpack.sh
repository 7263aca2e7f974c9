#!/bin/sh
# backfleet-host for hosts without Python. It unpacks itself once into the runtime folder and runs from there.
set -eu
made_for=@MACHINE@
here=$(uname -m 2>/dev/null || echo "$made_for")
[ "$here" = "$made_for" ] || { echo "backfleet-host: this file is for $made_for, and this machine is $here; get the one for $here" >&2; exit 1; }
umask 022
folder=${BACKFLEET_RUNTIME:-/opt/backfleet/runtime}/@SHA256@
if [ ! -x "$folder/backfleet-host" ]; then
  partial=$folder.$$.partial
  trap 'rm -rf "$partial"' EXIT
  mkdir -p "$partial" 2>/dev/null || { echo "backfleet-host: $folder cannot be made; run as root, or set BACKFLEET_RUNTIME" >&2; exit 1; }
  tail -c +@START@ "$0" | tar -xzf - -C "$partial" || { echo "backfleet-host: $0 is damaged, or $folder has no room" >&2; exit 1; }
  mv -T "$partial" "$folder" 2>/dev/null || [ -x "$folder/backfleet-host" ]
  rm -rf "$partial"
  trap - EXIT
fi
exec "$folder/backfleet-host" "$@"
