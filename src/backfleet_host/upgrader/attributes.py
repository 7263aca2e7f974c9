"""Read and set owner, mode and extended attributes of what is open: nobody can put something else in its place."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Any, Dict, Union


def attributes_of(what: Union[int, str]) -> Dict[str, Any]:
    """Return mode, owner and extended attributes of what is open.

    Args:
        what: a descriptor, or what `opened_itself` yields.
    """
    found = os.stat(what)
    return {
        "mode": stat.S_IMODE(found.st_mode),
        "uid": found.st_uid,
        "gid": found.st_gid,
        "attributes": _extended_attributes(what),
    }


def set_attributes(what: Union[int, str], known: Dict[str, Any]) -> None:
    """Set owner, mode and extended attributes of what is open. The owner first: changing it may clear mode bits.

    A file that cannot be given its owner does not get set-uid or set-gid bits: they would lend ours.
    """
    with contextlib.suppress(PermissionError):  # an upgrader that does not run as root cannot have changed it either
        os.chown(what, known["uid"], known["gid"])
    found, mode = os.stat(what), known["mode"]
    if stat.S_ISREG(found.st_mode) and (found.st_uid, found.st_gid) != (known["uid"], known["gid"]):
        mode &= ~(stat.S_ISUID | stat.S_ISGID)
    if not stat.S_ISLNK(found.st_mode):  # a link has no mode of its own
        os.chmod(what, mode)
    now = _extended_attributes(what)
    for name in set(now) - set(known["attributes"]):
        os.removexattr(what, name)
    for name, value in known["attributes"].items():
        if now.get(name) != value:
            os.setxattr(what, name, bytes.fromhex(value))


def _extended_attributes(what: Union[int, str]) -> Dict[str, str]:
    try:
        return {name: os.getxattr(what, name).hex() for name in os.listxattr(what)}
    except OSError:  # the file system has none
        return {}
