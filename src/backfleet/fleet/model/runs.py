"""Processes of agents, by which two hosts with one identity are noticed."""

from datetime import datetime
from typing import Final

from backfleet.values import value_object

BEFORE_BOOT: Final = "/"  # between a run's own id and its machine's boot in a mark


@value_object
class AgentRun:
    """One process of an agent, as it was seen by an instance's signature."""

    instance_id: str
    mark: str  # tells processes of one identity apart: the run's own id and its machine's boot, or process and address
    first_at: datetime
    last_at: datetime
    address: str = ""
    hostname: str = ""
    machine_id: str = ""  # as its machine has it now; "" if it did not say

    @property
    def boot(self) -> str:
        """Since which boot its machine runs; "" if it did not say."""
        return self.mark.partition(BEFORE_BOOT)[2]

    @property
    def text(self) -> str:
        """Its host, for people."""
        machine, boot = self.machine_id and f"machine {self.machine_id}", self.boot and f"boot {self.boot[:8]}"
        names = (self.hostname, self.address, machine, boot)
        return ", ".join(filter(None, names)) or f"process {self.mark}"
