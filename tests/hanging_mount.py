"""A real FUSE file system that stops answering: `python hanging_mount.py FOLDER FLAG`, as root.

It has one file, `config`, which can be run. It answers until the file FLAG exists on another disk. From then on it
takes requests and answers none, so that whoever made one cannot be killed: as NFS whose server is away. Its end breaks
them all off.

Source: the kernel's Documentation/filesystems/fuse.rst, and fuse.h for the numbers and structures.
"""

import contextlib
import ctypes
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LIFE_SECONDS = 120  # after which it ends whatever happens: a test must not hang for good
CONTENT = b"#!/bin/sh\necho fine\n"
HEADER = struct.Struct("=IIQQIIII")  # length, operation, unique, node, uid, gid, pid, padding
LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR = (
    1, 2, 3, 14, 15, 17, 18, 25, 26, 27, 28, 29
)  # fmt: skip
BATCH_FORGET, ENOENT, ENOSYS = 42, 2, 38
ROOT, FILE = 1, 2  # numbers of nodes
KEPT = 0  # seconds that the kernel may keep an answer: none, so that each use asks again


@contextlib.contextmanager
def hanging_mount(folder: Path) -> Iterator[Path]:
    """Mount it at `folder`, and yield the path of FLAG; skip the test where that is impossible."""
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.W_OK):
        pytest.skip("FUSE needs root and /dev/fuse")
    folder.mkdir(parents=True)
    flag = folder.with_name(f"{folder.name}-stops")
    server = subprocess.Popen([sys.executable, __file__, folder, flag], stdout=subprocess.PIPE)
    assert server.stdout is not None
    try:
        if server.stdout.readline() != b"mounted\n":
            pytest.skip("no FUSE can be mounted here")
        yield flag
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
        subprocess.run(["umount", "--lazy", folder], check=False, capture_output=True)


def _attributes(node: int) -> bytes:
    mode, links, size = (0o40755, 2, 0) if node == ROOT else (0o100755, 1, len(CONTENT))
    return struct.pack("=QQQQQQIIIIIIIIII", node, size, 1, 1, 1, 1, 0, 0, 0, mode, links, 0, 0, 0, 4096, 0)


def _folder_entries() -> bytes:
    found = b""
    for number, (node, kind, name) in enumerate(((ROOT, 4, b"."), (ROOT, 4, b".."), (FILE, 8, b"config")), 1):
        found += struct.pack("=QQII", node, number, len(name), kind) + name.ljust(-(-len(name) // 8) * 8, b"\0")
    return found


def _answer(operation: int, node: int, body: bytes) -> tuple[int, bytes]:
    """Return the error (0 = none) and the content of the answer to a request."""
    if operation == LOOKUP:
        found = struct.pack("=QQQQII", FILE, 0, KEPT, KEPT, 0, 0) + _attributes(FILE)
        return (0, found) if body.rstrip(b"\0") == b"config" else (ENOENT, b"")
    if operation == GETATTR:
        return 0, struct.pack("=QII", KEPT, 0, 0) + _attributes(node)
    if operation in (OPEN, OPENDIR):
        return 0, struct.pack("=QII", 1, 1, 0)  # past the page cache
    if operation in (READ, READDIR):
        offset = struct.unpack_from("=QQ", body)[1]
        return 0, (CONTENT[offset:] if operation == READ else b"" if offset else _folder_entries())
    if operation == STATFS:
        return 0, struct.pack("=QQQQQIIII", 0, 0, 0, 0, 0, 4096, 255, 0, 0).ljust(80, b"\0")
    return (0, b"") if operation in (RELEASE, RELEASEDIR, FLUSH) else (ENOSYS, b"")


def _serve(folder: str, flag: Path) -> None:
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    if ctypes.CDLL(None).mount(b"fuse", os.fsencode(folder), b"fuse", 0, options.encode()):
        sys.exit("not mounted")
    print("mounted", flush=True)
    while True:
        request = os.read(device, 1 << 18)
        _, operation, unique, node, *_ = HEADER.unpack_from(request)
        if operation in (FORGET, BATCH_FORGET):
            continue
        if operation == INIT:  # answered in any case: before it the kernel hands over no other request
            error, content = 0, struct.pack("=IIIIHHI", 7, 31, 1 << 16, 0, 8, 8, 1 << 16).ljust(64, b"\0")
        elif flag.exists():
            continue  # taken and not answered: only then can whoever made it not be killed
        else:
            error, content = _answer(operation, node, request[HEADER.size :])
        os.write(device, struct.pack("=IiQ", 16 + len(content), -error, unique) + content)


if __name__ == "__main__":
    signal.alarm(LIFE_SECONDS)
    _serve(sys.argv[1], Path(sys.argv[2]))
