"""What a release may ask of a host, however well it is signed: no part of the system is its to run, replace or keep.

The server checks it when a release is added, and each host again before it installs one: whoever controls the server
may have added a release in another way. What a host's administrator writes in the host policy is not limited here.
"""

from __future__ import annotations

import re
from typing import Iterable, Optional

from backfleet_host.layout import DEFAULT_ROOT, HOST_PACKAGE, policy_folder
from backfleet_host.manifest import Manifest, Service

# Shells, programs that lend or check rights, and what every script of a system relies on.
SYSTEM_COMMANDS = frozenset(
    """
    sh bash dash ash ksh zsh fish csh tcsh busybox toybox env true false echo printf test expr
    sudo sudoedit visudo doas su runuser pkexec polkit login passwd chsh chfn newgrp chage sulogin
    ssh sshd ssh-add ssh-agent ssh-keygen scp sftp telnet
    systemctl systemd systemd-run journalctl loginctl service init telinit shutdown reboot poweroff halt
    ls cat cp mv rm ln mkdir rmdir touch dd df du stat chmod chown chgrp chattr setfacl getfacl setcap getcap install
    find grep egrep fgrep sed awk gawk mawk cut sort uniq head tail tee tr wc xargs date sleep id whoami who w last
    ps top kill killall pkill pgrep pidof lsof fuser nohup nice renice timeout flock setpriv setsid chroot unshare
    nsenter mount umount losetup mkfs fsck fdisk parted blkid lsblk swapon swapoff sync
    ip ifconfig route iptables ip6tables nft ping ss netstat hostname hostnamectl curl wget nc
    useradd userdel usermod groupadd groupdel groupmod adduser deluser gpasswd getent
    apt apt-get apt-cache aptitude dpkg dpkg-deb rpm yum dnf zypper pacman apk snap flatpak pip pip3
    cron crond crontab at atd batch anacron logrotate
    python python3 perl ruby node php lua tclsh make gcc cc ld ldconfig
    vi vim nano ed more less man which whereis type command
    tar gzip gunzip bzip2 xz zstd unzip zip cpio openssl gpg gpg2
    uname dmesg sysctl modprobe insmod rmmod lsmod udevadm kexec docker podman git backfleet backfleet-host
    """.split()  # noqa: SIM905 - one can read it
)

# What a host cannot be reached, or does not run, without. Each stands for its instances and sockets too.
SYSTEM_UNITS = frozenset(
    """
    ssh sshd dbus dbus-broker cron crond atd anacron rsyslog syslog auditd polkit udev networking network
    network-online network-pre NetworkManager dhcpcd wpa_supplicant firewalld nftables iptables ufw chrony chronyd ntp
    ntpd getty serial-getty console-getty user user-runtime-dir display-manager gdm lightdm docker containerd kubelet
    libvirtd cloud-init default multi-user graphical rescue emergency sysinit basic local-fs remote-fs swap sockets
    timers paths sleep suspend hibernate shutdown reboot poweroff halt final kexec exit init runlevel apparmor selinux
    sssd nscd nslcd winbind mdmonitor lvm2-lvmetad multipathd iscsid backfleet backfleet-host
    """.split()  # noqa: SIM905 - one can read it
)

# Whoever keeps these decides who may enter a host and what runs on it. What is below them counts too.
SYSTEM_PATHS = (
    "/bin", "/boot", "/efi", "/dev/block", "/dev/disk", "/dev/mapper", "/lib", "/lib32", "/lib64", "/libx32",
    "/lost+found", "/proc", "/sbin", "/sys",
    "/usr/bin", "/usr/include", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/libx32", "/usr/sbin",
    "/usr/share", "/usr/src", "/usr/local/bin", "/usr/local/lib", "/usr/local/sbin",
    "/etc/shadow", "/etc/passwd", "/etc/group", "/etc/gshadow", "/etc/subuid", "/etc/subgid", "/etc/sudoers",
    "/etc/sudoers.d", "/etc/sudo.conf", "/etc/doas.conf", "/etc/ssh", "/etc/pam.d", "/etc/pam.conf", "/etc/security",
    "/etc/login.defs", "/etc/polkit-1", "/etc/dbus-1", "/etc/systemd", "/etc/init.d", "/etc/inittab", "/etc/rc.local",
    "/etc/cron.d", "/etc/cron.daily", "/etc/cron.hourly", "/etc/cron.monthly", "/etc/cron.weekly", "/etc/crontab",
    "/etc/cron.allow", "/etc/cron.deny", "/etc/at.allow", "/etc/at.deny", "/etc/profile", "/etc/profile.d",
    "/etc/bash.bashrc", "/etc/bashrc", "/etc/environment", "/etc/shells", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
    "/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/nsswitch.conf", "/etc/hosts", "/etc/hosts.allow",
    "/etc/hosts.deny", "/etc/hostname", "/etc/resolv.conf", "/etc/fstab", "/etc/mtab", "/etc/machine-id",
    "/etc/modprobe.d", "/etc/modules", "/etc/modules-load.d", "/etc/sysctl.conf", "/etc/sysctl.d", "/etc/udev",
    "/etc/default/grub", "/etc/apt", "/etc/dpkg", "/etc/yum", "/etc/yum.conf", "/etc/yum.repos.d", "/etc/dnf",
    "/etc/pki", "/etc/ssl", "/etc/ca-certificates", "/etc/apparmor.d", "/etc/selinux", "/etc/audit",
    "/etc/network", "/etc/NetworkManager", "/etc/netplan", "/etc/iptables", "/etc/nftables.conf",
    "/run/systemd", "/run/dbus", "/var/run/systemd", "/var/lib/dpkg", "/var/lib/rpm", "/var/lib/apt",
    "/var/lib/systemd", "/var/lib/sudo", "/var/lib/pam", "/var/spool/cron", "/var/spool/at",
    str(DEFAULT_ROOT), str(policy_folder(DEFAULT_ROOT)),
)  # fmt: skip
_BACKUPS_OF = re.compile(r"/etc/(?:shadow|passwd|group|gshadow|sudoers)[-.~].*")

# These belong to nobody alone. What is below them may be one client's.
SHARED_FOLDERS = frozenset(
    """
    / /etc /home /media /mnt /opt /root /run /srv /tmp /usr /var /etc/default /etc/opt /usr/local /usr/local/etc
    /usr/local/share /var/backups /var/cache /var/lib /var/local /var/log /var/mail /var/opt /var/run /var/spool
    /var/tmp /run/lock /run/user /dev /dev/shm
    """.split()  # noqa: SIM905 - one can read it
)
_PRIVATE = frozenset({".ssh", ".gnupg", ".bashrc", ".profile", ".bash_profile", ".zshrc"})  # in any folder


def broken_rule(manifest: Manifest, units: Optional[Iterable[str]] = None) -> str:
    """Return the first rule that a release breaks, as a sentence; "" if it breaks none.

    Args:
        units: further units that the host's administrator allows; None where no host is asked: then every unit passes
            that is not a part of the system, because a host may allow it.
    """
    for command in manifest.commands:
        if command in SYSTEM_COMMANDS and (command, manifest.package) != (HOST_PACKAGE, HOST_PACKAGE):
            return f"bin has the command {command!r}, which is a part of the system; expose it under another name"
    for path in manifest.preserve:
        if is_system_path(path):
            return f"keeps has {path!r}, which is a part of the system; name the client's own files"
    return "" if manifest.service is None else _broken_by_service(manifest, manifest.service, units)


def is_system_path(path: str) -> bool:
    """Return whether a path of state is a part of the system, or holds one.

    Args:
        path: absolute and normal.
    """
    if path in SHARED_FOLDERS or re.fullmatch(r"/home/[^/]+", path) or _BACKUPS_OF.fullmatch(path):
        return True
    return any(f"{path}/".startswith(f"{known}/") for known in SYSTEM_PATHS) or not _PRIVATE.isdisjoint(path.split("/"))


def _broken_by_service(manifest: Manifest, service: Service, units: Optional[Iterable[str]]) -> str:
    for name in ("start", "stop", "ready", "idle"):
        command = getattr(service, name)
        if command and command[0] not in manifest.programs:
            own = ", ".join(manifest.programs) or "none"
            return f"service.{name} runs {command[0]!r}, which is not one of the release's own commands ({own})"
    unit = service.unit
    is_own = (unit, manifest.package) == (f"{HOST_PACKAGE}.service", HOST_PACKAGE)  # the program upgrades itself
    if not unit or is_own or unit in (units or ()):
        return ""
    stem = re.split(r"[@.]", unit)[0]
    if stem in SYSTEM_UNITS or stem.startswith("systemd"):
        return f"service.unit is {unit!r}, which is a part of the system"
    if units is not None and not re.match(rf"{re.escape(manifest.package)}(?![A-Za-z0-9])", unit):
        advice = f"a host allows it by `units` in /etc/backfleet/{manifest.package}.toml"
        return f"service.unit is {unit!r}, which is not named for the package {manifest.package!r}; {advice}"
    return ""
