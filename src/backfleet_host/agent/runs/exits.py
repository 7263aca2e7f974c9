"""Ends of processes with their exit codes, from the kernel's process connector.

It needs root and the initial namespaces, and a kernel with CONFIG_PROC_EVENTS, as distributions have it. A filter
in the kernel lets through the ends of whole processes only, so that a busy host wakes the agent less often.
Source: include/uapi/linux/cn_proc.h, connector(4) in the kernel's documentation, and socket(7) on filters.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import struct
from typing import Dict, List, NamedTuple, Tuple

_CONNECTOR = 11  # NETLINK_CONNECTOR
_PROCESSES = 1  # CN_IDX_PROC and CN_VAL_PROC
_DONE = 3  # NLMSG_DONE
_LISTEN = 1  # PROC_CN_MCAST_LISTEN
_EXIT = 0x80000000  # PROC_EVENT_EXIT
_ANSWER_SECONDS = 1.0  # for the kernel to say that it will send
_BUFFER = 4 << 20  # bytes: some 5000 ends
_ATTACH_FILTER, _RECEIVE_BUFFER_FORCE = 26, 33  # SO_ATTACH_FILTER, SO_RCVBUFFORCE on every platform with a shim
_HEADERS = 36  # bytes of nlmsghdr and cn_msg; then come kind, processor, time, thread, process, status
_EVENT = struct.Struct("=IIQIII")
_LOAD, _EQUALS, _EQUALS_X, _TO_X, _RETURN = 0x20, 0x15, 0x1D, 0x07, 0x06  # classic BPF


class NotAvailable(Exception):
    """The kernel does not tell this process of ends. The text says why."""


class Ends(NamedTuple):
    """Processes that ended, with their exit codes (of a signal: its number, negative)."""

    codes: Dict[int, int]
    has_lost: bool  # some ends were lost: there were too many at once


class Exits:
    """The ends of all processes from now on."""

    def __init__(self) -> None:
        """Ask the kernel for them.

        Raises:
            NotAvailable: it does not send them here.
        """
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, _CONNECTOR)
        except OSError as problem:
            raise NotAvailable(problem.strerror) from None
        try:
            self._ask()
        except OSError as problem:
            self._socket.close()
            raise NotAvailable(problem.strerror) from None
        except NotAvailable:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Stop to listen."""
        self._socket.close()

    def read_all(self) -> Ends:
        """Return the ends since the last call."""
        codes, has_lost = {}, False
        for _ in range(_BUFFER // _HEADERS):
            try:
                content, sender = self._socket.recvfrom(4096)
            except BlockingIOError:
                break
            except OSError as problem:
                if problem.errno != errno.ENOBUFS:
                    raise
                has_lost = True
                continue
            if sender[0] == 0 and len(content) >= _HEADERS + _EVENT.size:  # from the kernel, and nobody else
                kind, _, _, thread, process, status = _EVENT.unpack_from(content, _HEADERS)
                if kind == _EXIT and thread == process:
                    codes[process] = os.waitstatus_to_exitcode(status & ~0x80)  # without "it left a core file"
        return Ends(codes, has_lost)

    def _ask(self) -> None:
        self._socket.bind((0, _PROCESSES))
        own = self._socket.getsockname()[0]
        header = struct.pack("=IHHII", 40, _DONE, 0, 0, own)
        self._socket.send(header + struct.pack("=IIIIHHI", _PROCESSES, _PROCESSES, 0, 0, 4, 0, _LISTEN))
        if not select.select([self._socket], [], [], _ANSWER_SECONDS)[0]:
            raise NotAvailable("the kernel does not answer: this is not the initial namespace")
        self._socket.setsockopt(socket.SOL_SOCKET, _RECEIVE_BUFFER_FORCE, _BUFFER)
        _attach(self._socket)


def _attach(to: socket.socket) -> None:
    """Let through the ends of processes only. A filter reads in the order of networks, whatever the machine's is."""
    kind = int.from_bytes(struct.pack("=I", _EXIT), "big")
    program: List[Tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _HEADERS),
        (_EQUALS, 0, 5, kind),
        (_LOAD, 0, 0, _HEADERS + 16),
        (_TO_X, 0, 0, 0),
        (_LOAD, 0, 0, _HEADERS + 20),
        (_EQUALS_X, 0, 1, 0),
        (_RETURN, 0, 0, 0xFFFF),
        (_RETURN, 0, 0, 0),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in program))
    to.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(code)))
