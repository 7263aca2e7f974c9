"""Processes of agents, by which two hosts with one identity are noticed."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class AgentRun:
    """One process of an agent, as it was seen by an instance's signature."""

    instance_id: str
    mark: str  # tells processes of one identity apart: the run's own id, or process id and address
    first_at: datetime
    last_at: datetime
    address: str = ""
    hostname: str = ""
    machine_id: str = ""  # as its machine has it now; "" if it did not say

    @property
    def text(self) -> str:
        """Its host, for people."""
        names = (self.hostname, self.address, f"machine {self.machine_id}" if self.machine_id else "")
        return ", ".join(filter(None, names)) or f"process {self.mark}"
