"""Files for instances: sent as a shell script that writes them."""

import shlex
from collections.abc import Mapping
from typing import Final

ERROR_CODES: Final = {
    101: "FilePathInvalid",
    102: "FileAlreadyExists",
    103: "FileCreateFail",
    104: "FileAuthorityInvalid",
    105: "FileContentInvalid",
}
"""The ErrorCode of each exit code of the script."""

_WRITE: Final = """set -u
dir={folder}; name={name}; mode={mode}; owner={owner}
umask 077
mkdir -p -- "$dir" 2>&1 || exit 101
[ -d "$dir" ] || exit 101
part=$(mktemp "$dir/.backfleet-XXXXXXXX") || exit 103
trap 'rm -f -- "$part"' EXIT
base64 -d > "$part" <<'BACKFLEET_END_OF_FILE' || exit 105
{content}
BACKFLEET_END_OF_FILE
if [ -n "$owner" ]; then chown -- "$owner" "$part" 2>&1 || exit 104; fi
chmod -- "$mode" "$part" 2>&1 || exit 104
[ -d "$dir/$name" ] && exit 103
if {overwrite}; then
  mv -f -- "$part" "$dir/$name" 2>&1 || exit 103
else
  ln -- "$part" "$dir/$name" 2>&1 || {{ [ -e "$dir/$name" ] && exit 102; exit 103; }}
fi
exit 0
"""


def write_script(name: str, folder: str, encoded: str, *, mode: str, owner: str, group: str, overwrite: bool) -> str:
    """Return a shell script that writes a file completely or not at all.

    It replaces the agents' own file tasks: an agent does such a task as often as it is listed, and its only report
    may be lost.

    Args:
        encoded: the content of the file in base64.
        overwrite: replace a file of this name; otherwise the script ends with an error if there is one.
    """
    lines = "\n".join(encoded[start : start + 76] for start in range(0, len(encoded), 76))
    who = f"{owner}:{group}" if group else owner
    values: Mapping[str, str] = {
        "folder": shlex.quote(folder),
        "name": shlex.quote(name),
        "mode": shlex.quote(mode),
        "owner": shlex.quote(who),
        "content": lines,
        "overwrite": "true" if overwrite else "false",
    }
    return _WRITE.format(**values)
