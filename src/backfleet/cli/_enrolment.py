"""What a new host is given to enrol with: lines to paste, and user data of cloud-init. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from backfleet.values import value_object
from backfleet_host.download_paths import AUTHORITY, DOWNLOADS, HOST_BINARY, HOST_PROGRAM
from backfleet_host.layout import ACTIVATION, DEFAULT_ROOT, policy_folder

PROGRAM = "/usr/local/bin/backfleet-host"
HAS_PYTHON = "python3 -c 'import ssl, sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null"


@value_object
class Enrolment:
    """An activation that was just made, and the server that made it."""

    server: Mapping[str, Any]  # the answer of DescribeServer
    region: str
    activation_id: str
    code: str

    def __repr__(self) -> str:
        return f"Enrolment({self.activation_id})"

    @property
    def address(self) -> str:
        """HOST:PORT for agents."""
        return str(self.server["AgentAddress"])

    @property
    def own_agent(self) -> str:
        """The line for Backfleet's own agent. It takes the program that needs no Python where there is none."""
        ca, downloads = policy_folder(DEFAULT_ROOT) / "ca.pem", self._downloads
        lacks = "this host has no Python 3.10 with ssl, and the server no $f; see the server's docs/host.md"
        return (
            f"{self._fetch_authority} && {{ {HAS_PYTHON} && f={HOST_PROGRAM} || f={HOST_BINARY}-$(uname -m); }} && "
            f'{{ curl -fsS --cacert {ca} {downloads}$f -o {PROGRAM} || ! echo "{lacks}" >&2; }} && '
            f"chmod 755 {PROGRAM} && BACKFLEET_ACTIVATION_CODE={self.code} {PROGRAM} enrol --server {self.address} "
            f"--ca {ca} --activation-id {self.activation_id} && {{ {PROGRAM} service || {PROGRAM} run; }}"
        )

    @property
    def official_agent(self) -> str:
        """The line for the official Cloud Assistant agent."""
        ca = policy_folder(DEFAULT_ROOT) / "ca.pem"
        return (
            f"{self._fetch_authority} && printf 'ALIYUN_ASSIST_SERVER_HOST={self.address}\\n"
            f"ALIYUN_ASSIST_CERT_PATH={ca}\\n' > /etc/sysconfig/aliyun && set -a && . /etc/sysconfig/aliyun && "
            f"aliyun-service --register --RegionId={self.region} --ActivationCode={self.code} "
            f"--ActivationId={self.activation_id}"
        )

    @property
    def cloud_init(self) -> str:
        """User data with which a new machine enrols when cloud-init has set it up."""
        return f"#cloud-config\nruncmd:\n  - [sh, -c, {json.dumps(self.own_agent)}]\n"

    @property
    def image(self) -> str:
        """User data for copies of a disk on which `backfleet-host prepare` was run."""
        file = policy_folder(DEFAULT_ROOT) / ACTIVATION
        content = f"id = {json.dumps(self.activation_id)}\ncode = {json.dumps(self.code)}\n"
        return (
            f"#cloud-config\nwrite_files:\n  - path: {file}\n    owner: root:root\n    permissions: '0600'\n"
            f"    content: {json.dumps(content)}\n"
        )

    @property
    def _downloads(self) -> str:
        return f"https://{self.address}{DOWNLOADS}"

    @property
    def _fetch_authority(self) -> str:
        """The beginning of both lines: everything else is checked against the authority."""
        ca = policy_folder(DEFAULT_ROOT) / "ca.pem"
        # -k is safe here: a wrong authority has another fingerprint, and the check that follows ends the line.
        return (
            f"mkdir -p {ca.parent} /etc/sysconfig && curl -fsSk {self._downloads}{AUTHORITY} -o {ca} && "
            f"echo '{self.server['AuthoritySha256']}  {ca}' | sha256sum -c --quiet"
        )
