"""Whether a run of a client is a backup, by its first arguments: `restic backup` is one, `restic snapshots` is not."""

from __future__ import annotations

from typing import Dict, FrozenSet, Sequence, Tuple


def _words(text: str) -> FrozenSet[str]:
    return frozenset(text.split())


_NO_BACKUP = _words("version help --version --help -V -h")

_KNOWN: Dict[str, Tuple[FrozenSet[str], FrozenSet[str]]] = {
    "rclone": (
        _words("sync copy copyto move moveto bisync rcat"),
        _words(
            "about archivetest authorize backend cat check checksum cleanup completion config copyurl cryptcheck "
            "cryptdecode dedupe delete deletefile gendocs gitannex hashsum help link listremotes ls lsd lsf lsjson lsl "
            "md5sum mkdir mount ncdu nfsmount obscure purge rc rcd rmdir rmdirs selfupdate serve settier sha1sum size "
            "test touch tree version"
        ),
    ),
    "restic": (
        _words("backup"),
        _words(
            "cache cat check copy diff dump features find forget generate help init key list ls migrate mount options "
            "prune recover repair restore rewrite self-update snapshots stats tag unlock version"
        ),
    ),
    "borg": (
        _words("create"),
        _words(
            "benchmark break-lock check compact config debug delete diff export-tar extract help import-tar info init "
            "key list mount prune recreate rename serve umount upgrade version with-lock"
        ),
    ),
}
"""Of each known command: the commands that make backups, and the others. The first one of both kinds decides."""


def is_backup(command: str, arguments: Sequence[str]) -> bool:
    """Return whether a run makes a backup. Of a command that is not known every run does that asks for more than help.

    Args:
        command: the client's command, as `restic`.
        arguments: its first arguments.
    """
    known = _KNOWN.get(command)
    if known is None:
        return bool(arguments) and arguments[0] not in _NO_BACKUP
    backups, others = known
    return next((each in backups for each in arguments if each in backups or each in others), False)
