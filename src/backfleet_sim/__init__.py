"""Many simulated agents in one process, with the real protocol: for tests, measurements and rehearsals.

They behave as the official agent does where it matters to a server: they fetch their tasks only when they are kicked
(and once at their start), run a task id once, try a final report four times and then lose it. An upgrade order is
carried out in no time and reported as the host program would; nothing is installed.

`Simulation` holds what the agents share and what they saw; `Agent` is one host: `register`, then `run`. `enrol` and
`all_connected` do that for many. `backfleet_sim.seeding` writes what a simulation needs straight into the tables of a
server that it shares a process with.
"""

from backfleet_sim.agent import Agent, RegistrationFailed, all_connected, enrol, sign_ahead
from backfleet_sim.http_client import HttpClient
from backfleet_sim.servers import Server
from backfleet_sim.simulation import Simulation, make_keys

__all__ = [
    "Agent", "HttpClient", "RegistrationFailed", "Server", "Simulation", "all_connected", "enrol", "make_keys",
    "sign_ahead",
]  # fmt: skip
