"""Hosts to be imported, read from the files that people have."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from backfleet.cli._host_files import (
    BadHosts,
    ask_ansible,
    ask_ssh,
    names_in_config,
    read_hosts_file,
    read_inventory,
    read_place,
    with_known_keys,
)


def test_a_file_has_defaults_and_a_table_for_each_host() -> None:
    text = """
user = "deploy"
sudo = true
[[hosts]]
address = "10.0.0.7"
[[hosts]]
address = "db"
user = "root"
sudo = false
"""
    first, second = read_hosts_file(text, "hosts.toml")
    assert (first.target.user, first.sudo, first.target.port) == ("deploy", True, 22)
    assert (second.target.user, second.sudo) == ("root", False)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hosts = 3", "has no"),
        ("[[hosts]]\nname = 'a'", "has no address"),
        ("[[hosts]]\naddress = 'a'\nprot = 22", "unknown field 'prot'"),
        ("[[hosts]]\naddress = 'a'\nport = '22'", "port is '22'"),
        ("[[hosts]]\naddress = 'a'\nsudo = 1", "sudo is 1"),
        ("[[hosts]]\naddress = 'a'\nhost_keys = 'k'", "a list of texts"),
        ("[[hosts]]\naddress = 'a'\njumps = ['a b']", "is no"),
        ("[[hosts", "is no TOML"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_the_place(text: str, why: str) -> None:
    with pytest.raises(BadHosts, match=why) as refusal:
        read_hosts_file(text, "hosts.toml")
    assert str(refusal.value).startswith("hosts.toml")


@pytest.mark.parametrize(
    ("text", "address", "port", "user"),
    [("a", "a", 22, ""), ("u@a:2222", "a", 2222, "u"), ("ssh://u@[fd00::1]:7", "fd00::1", 7, "u")],
)
def test_a_place_is_user_host_and_port(text: str, address: str, port: int, user: str) -> None:
    hop = read_place(text, "here")
    assert (hop.address, hop.port, hop.user) == (address, port, user)


def test_what_ansible_prints_names_hosts_and_how_they_are_reached() -> None:
    common = "-o ProxyJump=ops@bastion:2222"
    hosts = {
        "db-1": {"ansible_host": "10.0.0.7", "ansible_port": "2222", "ansible_user": "deploy", "ansible_become": "yes"},
        "db-2": {"ansible_ssh_common_args": common, "ansible_become": False},
    }
    first, second = read_inventory(json.dumps({"_meta": {"hostvars": hosts}, "all": {}}), "hosts.json")
    assert (first.name, first.target.address, first.target.port, first.sudo) == ("db-1", "10.0.0.7", 2222, True)
    assert (second.target.address, second.sudo, second.jumps[0].port) == ("db-2", False, 2222)
    for text in ("{}", "[]", '{"_meta": {"hostvars": 3}}', "nonsense"):
        with pytest.raises(BadHosts, match="ansible-inventory"):
            read_inventory(text, "hosts.json")


def test_without_ansible_an_inventory_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadHosts, match="--list"):
        ask_ansible(Path("inventory.ini"))


@pytest.mark.skipif(shutil.which("ssh") is None, reason="it asks the SSH client")
def test_the_ssh_client_says_what_its_configuration_means(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        "Host db-1 db-2\n  HostName 10.0.0.7\n  Port 2222\nHost db-*\n  User deploy\n  ProxyJump bastion\n"
        "Host bastion\n  HostName 203.0.113.9\n  User ops\n"
    )
    names = names_in_config(config.read_text())
    assert names == ["db-1", "db-2", "bastion"]
    first, _, bastion = ask_ssh(config, names)
    assert (first.target.address, first.target.port, first.target.user) == ("10.0.0.7", 2222, "deploy")
    assert [(hop.address, hop.user) for hop in first.jumps] == [("203.0.113.9", "ops")]
    assert bastion.jumps == ()


@pytest.mark.skipif(shutil.which("ssh") is None, reason="it asks the SSH client")
def test_the_first_jump_host_may_have_one_itself(tmp_path: Path) -> None:
    """As for the client: of several that are named, the others are reached through those before them."""
    config = tmp_path / "config"
    config.write_text(
        "Host db\n  ProxyJump inner,ops@last:2200\nHost inner\n  HostName 10.0.0.2\n  ProxyJump outer\n"
        "Host outer\n  HostName 203.0.113.9\n  Port 443\nHost last\n  ProxyJump nowhere\n"
    )
    (host,) = ask_ssh(config, ["db"])
    assert [(hop.address, hop.port) for hop in host.jumps] == [("203.0.113.9", 443), ("10.0.0.2", 22), ("last", 2200)]
    assert host.target.address == "db"


@pytest.mark.skipif(shutil.which("ssh") is None, reason="it asks the SSH client")
@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"Host a\n  ProxyCommand nc %h %p\n", "ProxyCommand, which the server does not run", id="command"),
        pytest.param(b"Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n", "or in a circle", id="a circle of jump hosts"),
        pytest.param(b"Include config\nHost a\n", "Too many recursive", id="a file that includes itself"),
        pytest.param(b"Host a\n  User \xff\n", "not UTF-8", id="another encoding"),
        pytest.param(b"Host a\n  Prot 22\x1b[2J\n", "ssh refuses", id="a typing error"),
    ],
)
def test_a_configuration_that_cannot_be_followed_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    """A way that is left out would end at another host, or nowhere."""
    config = tmp_path / "config"
    config.write_bytes(content.replace(b"Include config", f"Include {config}".encode()))
    with pytest.raises(BadHosts) as caught:
        list(ask_ssh(config, ["a"]))
    assert words in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_host_of_ansible_that_needs_a_command_on_the_way_is_refused() -> None:
    for variable in ("ansible_ssh_common_args", "ansible_ssh_extra_args"):
        hosts = {"db": {variable: "-o ProxyCommand='ssh -W %h:%p bastion'"}}
        with pytest.raises(BadHosts, match="ProxyCommand, which the server does not run"):
            read_inventory(json.dumps({"_meta": {"hostvars": hosts}}), "hosts.json")
    (found,) = read_inventory(json.dumps({"_meta": {"hostvars": {"x": {"ansible_ssh_common_args": "-i /a-Jb"}}}}), "f")
    assert found.jumps == ()


def test_a_host_key_that_was_revoked_is_not_taken(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    key = " ".join((tmp_path / "key.pub").read_text().split()[:2])
    known = tmp_path / "known_hosts"
    known.write_text(f"10.0.0.7 {key}\n@revoked * {key}\n")
    (host,) = read_hosts_file("[[hosts]]\naddress = '10.0.0.7'\n", "f")
    assert with_known_keys(host, known).target.host_keys == ()


def test_known_host_keys_are_found_also_where_their_names_are_hashed(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    key = " ".join((tmp_path / "key.pub").read_text().split()[:2])
    known = tmp_path / "known_hosts"
    known.write_text(f"10.0.0.7 {key}\n[10.0.0.7]:2222 {key}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", known], check=True, capture_output=True)
    hosts = read_hosts_file(
        "[[hosts]]\naddress = '10.0.0.7'\nport = 2222\n[[hosts]]\naddress = '10.0.0.8'\njumps = ['10.0.0.7']\n", "f"
    )
    first, second = (with_known_keys(host, known) for host in hosts)
    assert (first.target.host_keys, second.target.host_keys) == ((key,), ())
    assert second.jumps[0].host_keys == (key,)
