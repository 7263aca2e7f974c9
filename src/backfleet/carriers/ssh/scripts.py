"""What the server runs on a host: constant texts. All that varies comes on standard input.

Only two things vary in the command of a session: whether it begins with `sudo`, and which of the texts it has.
"""

import shlex
from typing import Final

from backfleet.carriers.facts import FACTS

_RUN: Final = """
umask 077
IFS= read -r size && IFS= read -r folder || exit 72
dir=$(mktemp -d /tmp/backfleet.XXXXXXXX) || exit 73
trap 'rm -rf "$dir"' EXIT
trap : PIPE HUP
head -c "$size" >"$dir/command" || exit 74
[ "$(wc -c <"$dir/command")" -eq "$size" ] || exit 75
exec 3<&0
cd "${folder:-$HOME}" || exit 76
IFS= read -r first <"$dir/command"
own=$(command -v setsid)
case "$first" in
  "#!/bin/sh"*|[!#]*|"") $own /bin/sh "$dir/command" </dev/null 3<&- & ;;
  "#!"*) chmod 700 "$dir/command"; $own "$dir/command" </dev/null 3<&- & ;;
  *) $own /bin/sh "$dir/command" </dev/null 3<&- & ;;
esac
child=$!
( cat <&3 >/dev/null; kill -TERM ${own:+-}"$child"; sleep 5; kill -KILL ${own:+-}"$child" ) >/dev/null 2>&1 &
watch=$!
exec 3<&-
wait "$child"
code=$?
kill "$watch" 2>/dev/null
exit "$code"
"""
"""Runs a command that comes on standard input, after its length in bytes and its folder, a line each.

It runs only if all of it has come, in a process group of its own, and is ended when standard input is.
"""


def facts_command(*, sudo: bool) -> str:
    """Return what prints the facts of a host."""
    return _under(FACTS, sudo)


def run_command(*, sudo: bool) -> str:
    """Return what runs a command from standard input."""
    return _under(_RUN, sudo)


def _under(text: str, sudo: bool) -> str:
    return f"exec {'sudo -n -H -- ' if sudo else ''}/bin/sh -c {shlex.quote(text)}"


def input_of(content: str, folder: str) -> bytes:
    """Return the standard input of `run_command`. Raises ValueError where the folder is none."""
    if "\n" in folder or "\0" in folder:
        raise ValueError("a working directory is one line")
    sent = content.encode()
    return f"{len(sent)}\n{folder}\n".encode() + sent
