"""The carrier `ssh`: hosts without an agent, which the server goes to.

Owns ssh_keys and ssh_hosts. Publishes `ssh` when a host is to be visited.

    make_key, add_key, keys_of, delete_key: the keys that the server logs in with
    read_host_keys, described, scan_hosts: the keys that hosts are known by
    import_host, find_host, forget_host: which hosts there are
    Ssh: how their orders are written
    Worker, make_visitor: visits them, and runs what waits for them

What needs the SSH library is imported where it runs: a server without such hosts does not load it.
"""

from backfleet.carriers.ssh.hosts import (
    TOPIC,
    KeyExists,
    KeyInUse,
    KeyNotFound,
    TooMany,
    add_key,
    delete_key,
    find_host,
    forget_host,
    import_host,
    keys_of,
)
from backfleet.carriers.ssh.loading import described, make_key, make_visitor, read_host_keys, scan_hosts
from backfleet.carriers.ssh.model import (
    HOSTNAME,
    MOST_HOPS,
    NAME,
    ROOT,
    USER,
    Hop,
    SshHost,
    SshKey,
    SshProblem,
    check_address,
)
from backfleet.carriers.ssh.way import Ssh
from backfleet.carriers.ssh.worker import Worker

__all__ = [
    "HOSTNAME",
    "MOST_HOPS",
    "NAME",
    "ROOT",
    "TOPIC",
    "USER",
    "Hop",
    "KeyExists",
    "KeyInUse",
    "KeyNotFound",
    "Ssh",
    "SshHost",
    "SshKey",
    "SshProblem",
    "TooMany",
    "Worker",
    "add_key",
    "check_address",
    "delete_key",
    "described",
    "find_host",
    "forget_host",
    "import_host",
    "keys_of",
    "make_key",
    "make_visitor",
    "read_host_keys",
    "scan_hosts",
]
