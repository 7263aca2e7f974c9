"""A release runs, replaces and keeps nothing of the system, however well it is signed."""

from dataclasses import replace

import pytest

from backfleet_host.manifest import Manifest, Service
from backfleet_host.release_rules import broken_rule, is_system_path

ACME = Manifest("acme", "1.0", "linux-amd64", "tar", bin=("bin/acme", "bin/acme-ctl"))
OWN = Service(start=("acme", "start"), stop=("acme-ctl", "stop"), ready=("acme", "ready"))


def test_a_plain_release_breaks_no_rule() -> None:
    assert broken_rule(replace(ACME, service=OWN, preserve=("/etc/acme", "/var/lib/acme/state")), ()) == ""


@pytest.mark.parametrize(
    "command", ["sudo", "sh", "su", "ls", "ssh", "systemctl", "python3", "passwd", "env", "crontab"]
)
def test_no_command_of_the_system_is_exposed(command: str) -> None:
    """Its shim would come before the system's own in everybody's PATH."""
    assert f"bin has the command '{command}'" in broken_rule(replace(ACME, bin=(f"usr/bin/{command}",)))


@pytest.mark.parametrize("which", ["start", "stop", "ready", "idle"])
@pytest.mark.parametrize(
    "program", ["/bin/sh", "sh", "true", "bin/acme", "/opt/backfleet/acme/current/bin/acme", "../acme"]
)
def test_a_service_is_run_by_commands_of_its_own_release(which: str, program: str) -> None:
    service = replace(OWN, **{which: (program, "-c", "id")})
    expected = f"service.{which} runs {program!r}, which is not one of the release's own commands (acme, acme-ctl)"
    assert broken_rule(replace(ACME, service=service)) == expected


UNITS = ["ssh.service", "sshd.service", "systemd-logind.service", "dbus.socket", "cron.service", "multi-user.target",
         "getty@tty1.service", "reboot.target"]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_no_unit_of_the_system_is_stopped_or_started(unit: str) -> None:
    """Neither where the package is called like it; only the host's administrator may allow that."""
    named = replace(ACME, package=unit.split(".", maxsplit=1)[0].split("@", maxsplit=1)[0], service=Service(unit))
    assert "which is a part of the system" in broken_rule(named)
    assert "which is a part of the system" in broken_rule(named, ["other.service"])
    assert broken_rule(named, [unit]) == ""


@pytest.mark.parametrize("unit", ["acme.service", "acme-backups.service", "acme@daily.service", "acme_d.socket"])
def test_a_unit_is_named_for_the_package(unit: str) -> None:
    assert broken_rule(replace(ACME, service=Service(unit)), ()) == ""


@pytest.mark.parametrize("unit", ["nginx.service", "acmed.service", "my-acme.service"])
def test_any_other_unit_needs_the_hosts_policy(unit: str) -> None:
    """The server, which asks no host, lets it pass: a host may allow it."""
    named = replace(ACME, service=Service(unit))
    assert broken_rule(named) == ""
    assert "not named for the package 'acme'; a host allows it by `units` in" in broken_rule(named, ())
    assert broken_rule(named, [unit]) == ""


SYSTEM = [
    "/", "/etc", "/usr", "/boot", "/boot/grub", "/proc/1", "/etc/shadow", "/etc/shadow-", "/etc/passwd", "/etc/sudoers",
    "/etc/sudoers.d/acme", "/etc/ssh", "/etc/ssh/sshd_config", "/root/.ssh", "/root", "/home/alice",
    "/home/alice/.ssh/id",
    "/usr/bin/acme", "/etc/cron.d/acme", "/etc/systemd/system", "/etc/ld.so.preload", "/var/lib", "/var/lib/dpkg/info",
    "/opt/backfleet/rclone", "/etc/backfleet", "/root/.bashrc", "/usr/local", "/dev/disk/by-id",
]  # fmt: skip


@pytest.mark.parametrize("path", SYSTEM)
def test_no_part_of_the_system_is_preserved(path: str) -> None:
    """An uninstall with `remove_state` would remove it, and a rollback put an old one back."""
    assert is_system_path(path)
    assert f"keeps has {path!r}, which is a part of the system" in broken_rule(replace(ACME, preserve=(path,)))


@pytest.mark.parametrize(
    "path",
    ["/etc/acme", "/etc/acme.conf", "/etc/default/acme", "/etc/sshfs.conf", "/root/.config/acme", "/home/alice/.acme",
     "/var/lib/acme", "/usr/local/etc/acme", "/srv/acme", "/opt/acme/etc", "/etc/passwords/acme"],
)  # fmt: skip
def test_a_clients_own_files_are_preserved(path: str) -> None:
    assert not is_system_path(path)


def test_only_the_host_program_itself_has_its_command_and_its_unit() -> None:
    own = replace(
        ACME, package="backfleet-host", bin=("bin/backfleet-host",), service=Service("backfleet-host.service")
    )
    assert broken_rule(own, ()) == ""
    assert "bin has the command 'backfleet-host'" in broken_rule(replace(own, package="acme"))
    assert "which is a part of the system" in broken_rule(replace(own, service=Service("ssh.service")), ())
    assert "which is a part of the system" in broken_rule(replace(ACME, service=own.service), ())
