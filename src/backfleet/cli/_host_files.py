"""Hosts to be reached by SSH, read from a file of ours, an Ansible inventory, or the SSH client's own configuration.

What other programs know best, they are asked: `ansible-inventory --list` and `ssh -G`.
"""

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from backfleet.values import value_object
from backfleet_host.texts import printable

MOST_HOPS: Final = 3  # jump hosts of one host, as the API takes them
SECONDS: Final = 60  # for another program to answer
_PLACE: Final = re.compile(r"(?:(?P<user>[^@\s]+)@)?(?P<address>\[[^\]]+\]|[^:\s]+)(?::(?P<port>[0-9]{1,5}))?")
_FIELDS: Final = {"name", "address", "port", "user", "sudo", "root", "host_keys", "jumps"}
_NO_COMMAND: Final = "which the server does not run: give it a ProxyJump, or leave it out by naming the other hosts"
_TRUE: Final = ("true", "yes", "1", "on")


class BadHosts(Exception):
    """Hosts cannot be read. The text says where, what was found, and what to do."""


@value_object
class Hop:
    """One SSH server on the way."""

    address: str
    port: int = 22
    user: str = ""
    host_keys: tuple[str, ...] = ()


@value_object
class FoundHost:
    """A host as its file describes it; "" and None are left to the server's defaults."""

    name: str
    target: Hop
    sudo: bool | None = None
    root: str = ""
    jumps: tuple[Hop, ...] = ()


def read_hosts_file(text: str, where: str) -> list[FoundHost]:
    """Return the hosts of a TOML file: defaults at its top, and a table `[[hosts]]` for each. Raises BadHosts."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise BadHosts(f"{where} is no TOML: {problem}") from None
    entries = content.pop("hosts", None)
    if not isinstance(entries, list) or not entries:
        raise BadHosts(f"{where} has no [[hosts]]")
    found = []
    for number, entry in enumerate(entries, 1):
        fields = {**content, **entry} if isinstance(entry, dict) else {}
        unknown = sorted(set(fields) - _FIELDS)
        if unknown or not isinstance(fields.get("address"), str):
            wrong = f"has the unknown field {unknown[0]!r}" if unknown else "has no address"
            raise BadHosts(f"{where}: host {number} {wrong}; a host has {', '.join(sorted(_FIELDS))}")
        found.append(_of_fields(fields, f"{where}: host {number}"))
    return found


def _of_fields(fields: Mapping[str, Any], where: str) -> FoundHost:
    wanted = {"name": str, "address": str, "port": int, "user": str, "sudo": bool, "root": str}
    for name, kind in wanted.items():
        if name in fields and type(fields[name]) is not kind:
            raise BadHosts(f"{where}: {name} is {fields[name]!r}; it must be of the kind {kind.__name__}")
    lists = {name: fields.get(name, []) for name in ("host_keys", "jumps")}
    for name, value in lists.items():
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise BadHosts(f"{where}: {name} is {value!r}; it must be a list of texts")
    target = Hop(fields["address"], fields.get("port", 22), fields.get("user", ""), tuple(lists["host_keys"]))
    jumps = tuple(read_place(each, where) for each in lists["jumps"])
    return FoundHost(fields.get("name", ""), target, fields.get("sudo"), fields.get("root", ""), jumps)


def read_place(text: str, where: str) -> Hop:
    """Return `[USER@]HOST[:PORT]`. Raises BadHosts."""
    found = _PLACE.fullmatch(text.removeprefix("ssh://"))
    if found is None:
        raise BadHosts(f"{where}: {text!r} is no [USER@]HOST[:PORT]")
    return Hop(found["address"].strip("[]"), int(found["port"] or 22), found["user"] or "")


def read_inventory(text: str, where: str) -> list[FoundHost]:
    """Return the hosts of what `ansible-inventory --list` prints. Raises BadHosts."""
    try:
        known = json.loads(text)["_meta"]["hostvars"]
        return [_of_inventory(name, dict(variables), where) for name, variables in sorted(known.items())]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadHosts(f"{where} is not what `ansible-inventory --list` prints") from None


def _of_inventory(name: str, variables: dict[str, Any], where: str) -> FoundHost:
    def given(*names: str) -> Any:
        return next((variables[each] for each in names if each in variables), None)

    target = Hop(
        str(given("ansible_host", "ansible_ssh_host") or name),
        int(given("ansible_port", "ansible_ssh_port") or 22),
        str(given("ansible_user", "ansible_ssh_user") or ""),
    )
    becomes = given("ansible_become")
    arguments = " ".join(str(variables.get(f"ansible_ssh_{each}_args") or "") for each in ("common", "extra"))
    if "proxycommand" in arguments.lower():
        raise BadHosts(f"{where}: {printable(name)} is reached by a ProxyCommand, {_NO_COMMAND}")
    jump = re.search(r"(?:(?<!\S)-J|ProxyJump[= ])\s*([^\s'\"]+)", arguments)
    jumps = tuple(read_place(each, where) for each in jump[1].split(",")) if jump else ()
    sudo = None if becomes is None else str(becomes).lower() in _TRUE
    return FoundHost(name, target, sudo, jumps=jumps)


def ask_ansible(file: Path) -> list[FoundHost]:
    """Return the hosts of an inventory in any form that Ansible reads. Raises BadHosts."""
    if shutil.which("ansible-inventory") is None:
        raise BadHosts(
            f"{file} is read by the program ansible-inventory, which is not here; where it is, run "
            "`ansible-inventory -i INVENTORY --list > hosts.json` and give that file"
        )
    return read_inventory(_answer(["ansible-inventory", "-i", str(file), "--list"]), str(file))


def names_in_config(text: str) -> list[str]:
    """Return the hosts that an SSH client's configuration names, without patterns."""
    found: dict[str, None] = {}
    for line in text.splitlines():
        keyword, _, rest = line.strip().replace("=", " ", 1).partition(" ")
        if keyword.lower() == "host":
            words = [word.strip('"') for word in rest.split()]
            found.update(dict.fromkeys(word for word in words if not re.search(r"[*?!]", word)))
    return list(found)


def ask_ssh(file: Path, names: Sequence[str]) -> Iterator[FoundHost]:
    """Return hosts as the SSH client would reach them by this configuration. Raises BadHosts."""
    if shutil.which("ssh") is None:
        raise BadHosts(f"{file} is read by the program ssh, which is not here")

    def effective(name: str) -> tuple[Hop, str]:
        lines = (line.partition(" ") for line in _answer(["ssh", "-F", str(file), "-G", "--", name]).splitlines())
        fields = {keyword: value for keyword, _, value in lines}
        if fields.get("proxycommand", "none") != "none":
            raise BadHosts(f"{file}: {name} is reached by a ProxyCommand, {_NO_COMMAND}")
        hop = Hop(fields.get("hostname", name), int(fields.get("port", "22")), fields.get("user", ""))
        return hop, fields.get("proxyjump", "none")

    def way_to(name: str, already: int = 0) -> list[Hop]:
        """Return a host with the jump hosts before it. Of these, as for the client, the first may have some itself."""
        target, jumps = effective(name)
        if already > MOST_HOPS:
            raise BadHosts(f"{file}: {name} is reached through more than {MOST_HOPS} jump hosts, or in a circle")
        if jumps == "none":
            return [target]
        first, *others = (read_place(each, str(file)) for each in jumps.split(","))
        *before, hop = way_to(first.address, already + 1)
        return [*before, _merged(first, hop), *(_merged(each, effective(each.address)[0]) for each in others), target]

    for name in names:
        *hops, target = way_to(name)
        yield FoundHost(name, target, jumps=tuple(hops))


def _merged(written: Hop, effective: Hop) -> Hop:
    """Return a jump host as it is written, with what the configuration says of its name."""
    port = written.port if written.port != 22 else effective.port
    return replace(effective, port=port, user=written.user or effective.user)


def _answer(words: list[str]) -> str:
    try:
        done = subprocess.run(words, capture_output=True, check=False, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise BadHosts(f"{words[0]} cannot be asked: {problem}") from None
    if done.returncode:
        raise BadHosts(f"{words[0]} refuses: {printable(done.stderr.decode(errors='replace').strip())[:300]}")
    try:
        return done.stdout.decode()
    except UnicodeDecodeError as problem:
        raise BadHosts(f"{words[0]} answers with a text that is not UTF-8: {problem}") from None


def with_known_keys(host: FoundHost, known_hosts: Path) -> FoundHost:
    """Return a host with the keys that a known_hosts file has for it and its jump hosts, where it brings none."""
    import asyncssh  # only here: it takes a moment to load

    try:
        known = asyncssh.read_known_hosts(str(known_hosts))
    except (OSError, ValueError) as problem:
        raise BadHosts(f"{known_hosts} cannot be read: {problem}") from None

    def keyed(hop: Hop) -> Hop:
        if hop.host_keys:
            return hop
        found, _, revoked, *_ = known.match(hop.address, "", None if hop.port == 22 else hop.port)
        keys = [key for key in found if key not in revoked]
        return replace(hop, host_keys=tuple(" ".join(key.export_public_key().decode().split()[:2]) for key in keys))

    return replace(host, target=keyed(host.target), jumps=tuple(map(keyed, host.jumps)))
