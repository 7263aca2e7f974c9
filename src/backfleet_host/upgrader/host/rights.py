"""The rights of commands: what a host's administrator gave the installed version, every other version gets too.

restic's documented way to back up without root is `chown root:restic`, `chmod 750` and `setcap
cap_dac_read_search=+ep`. These are rights of a file, and an upgrade brings other files. So owner, group, mode, ACL,
attributes of users, security label and file capabilities go over to the commands of every tree, before the switch.
The capabilities are set last, because chown(2) and writing clear them, and never without owner, group and mode: on a
file that everybody may run they would let everybody read everything.

A capability on a shim has no effect, because the client that it becomes is another file: it goes to that file.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

from backfleet_host.manifest import Manifest
from backfleet_host.upgrader.failpoints import effect

CAPABILITY = "security.capability"
ACL = "system.posix_acl_access"
LABEL = "security.selinux"
SHIM_MODE = 0o755
OTHERS_MAY_WRITE, WRITABLE = 0o022, 0o222

_CAPABILITIES = (
    "chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap",
    "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner",
    "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice",
    "sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write", "audit_control", "setfcap",
    "mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf",
    "checkpoint_restore",
)  # fmt: skip
"""By their numbers. Source: capability.h of Linux."""


@dataclass(frozen=True)
class Rights:
    """Whose a command is, and what it may do."""

    uid: int
    gid: int
    mode: Optional[int] = None  # None = as its release packed it
    attributes: Mapping[str, bytes] = field(default_factory=dict)  # extended ones that mean rights

    @property
    def lends_rights(self) -> bool:
        """Whether whoever runs the command gets rights by that, which a mount with `nosuid` takes away."""
        return CAPABILITY in self.attributes

    def __str__(self) -> str:
        """Return how reports tell of them."""
        mode = [] if self.mode is None else [f"{self.mode:04o}"]
        named = {CAPABILITY: _capabilities(self.attributes.get(CAPABILITY, b"")), ACL: "ACL"}
        return " ".join([f"{_user(self.uid)}:{_group(self.gid)}", *mode, *(named.get(n, n) for n in self.attributes)])


def of_commands(tree: Path, manifest: Manifest, files: Mapping[str, Any], shims: Path) -> Dict[str, Rights]:
    """Return the rights of each command of the installed version that is there.

    Args:
        files: what is known of the tree's files since they were unpacked.
        shims: the folder of the shims.
    """
    found = {}
    for command, program in manifest.programs.items():
        rights = _rights_of(_file_of(tree, program), _mode_packed(files, program))
        on_shim = _rights_of(shims / command, SHIM_MODE)
        if rights is None:
            continue
        is_on_shim = on_shim is not None and CAPABILITY in on_shim.attributes
        found[command] = on_shim if on_shim and is_on_shim and CAPABILITY not in rights.attributes else rights
    return found


def of_file(path: Path) -> Optional[Rights]:
    """Return the rights of a plain file; None if there is none."""
    return _rights_of(path, None)


def of_special(rights: Mapping[str, Rights], tree: Path) -> Dict[str, str]:
    """Return those that are not simply those of an unpacked tree, as reports tell of them."""
    owner = tree.stat()
    return {
        command: str(one)
        for command, one in rights.items()
        if (one.uid, one.gid) != (owner.st_uid, owner.st_gid) or set(one.attributes) - {LABEL}
    }


def give(tree: Path, manifest: Manifest, files: Mapping[str, Any], rights: Mapping[str, Rights]) -> None:
    """Give the commands of a tree these rights. Only what differs is changed.

    Raises:
        OSError: we may not, or the file system cannot.
    """
    for command, program in manifest.programs.items():
        path, wanted = _file_of(tree, program), rights.get(command)
        now = _rights_of(path, None)
        if wanted is None or now is None or now.mode is None:
            continue
        packed = _mode_packed(files, program)
        mode = wanted.mode if wanted.mode is not None else now.mode if packed is None else packed
        wanted = replace(wanted, mode=mode & ~OTHERS_MAY_WRITE)
        if now != wanted:
            with effect("rights", path):
                _set(path, now, wanted)


def was_given_a_mode(tree: Path, files: Mapping[str, Any], program: str) -> bool:
    """Return whether a command has another mode than its release packed it with, apart from being writable."""
    found = _rights_of(_file_of(tree, program), _mode_packed(files, program))
    return found is not None and found.mode is not None


def has_capability(path: Path) -> bool:
    """Return whether a file has capabilities."""
    return CAPABILITY in _attributes_of(path)


def _set(path: Path, now: Rights, wanted: Rights) -> None:
    descriptor = os.open(str(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for name in set(now.attributes) - set(wanted.attributes):
            os.removexattr(descriptor, name)
        if (now.uid, now.gid) != (wanted.uid, wanted.gid):
            os.fchown(descriptor, wanted.uid, wanted.gid)
        os.fchmod(descriptor, wanted.mode or 0)
        for name in sorted(wanted.attributes, key=lambda name: name == CAPABILITY):
            os.setxattr(descriptor, name, wanted.attributes[name])
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rights_of(path: Path, usual_mode: Optional[int]) -> Optional[Rights]:
    """Return the rights of a plain file; None if there is none. That it may be written is no right of a command."""
    try:
        found = path.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    mode = stat.S_IMODE(found.st_mode)
    is_usual = usual_mode is not None and mode & ~WRITABLE == usual_mode & ~WRITABLE
    return Rights(found.st_uid, found.st_gid, None if is_usual else mode, _attributes_of(path))


def _file_of(tree: Path, program: str) -> Path:
    """Return the file that is run, where the program's path in the tree is a link to it."""
    path, real = tree / program, (tree / program).resolve()
    return real if path.is_symlink() and tree.resolve() in real.parents else path


def _mode_packed(files: Mapping[str, Any], program: str) -> Optional[int]:
    known = files.get(program)
    mode = known.get("mode") if isinstance(known, dict) else None
    return mode if isinstance(mode, int) else None


def _attributes_of(path: Path) -> Dict[str, bytes]:
    try:
        names = sorted(filter(_is_right, os.listxattr(str(path), follow_symlinks=False)))
        return {name: os.getxattr(str(path), name, follow_symlinks=False) for name in names}
    except OSError:  # the file system has none
        return {}


def _is_right(name: str) -> bool:
    """Return whether an attribute goes over to other files. Those of overlays and of signed files must not."""
    return name in (CAPABILITY, ACL, LABEL) or name.startswith(("user.", "security.SMACK64"))


def _capabilities(value: bytes) -> str:
    """Return file capabilities as setcap(8) writes them. Source: vfs_cap_data of capability.h."""
    if len(value) < 20:
        return CAPABILITY
    magic, permitted, inheritable, permitted_high, inheritable_high = struct.unpack("<5I", value[:20])
    sets = {"i": inheritable | inheritable_high << 32, "p": permitted | permitted_high << 32}
    names = [f"cap_{name}" for bit, name in enumerate(_CAPABILITIES) if (sets["i"] | sets["p"]) >> bit & 1]
    flags = ("e" if magic & 1 else "") + "".join(flag for flag in "ip" if sets[flag])
    return f"{','.join(names)}={flags}"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
