"""The endpoint of Cloud Assistant agents: `/luban/...` over HTTPS and WebSocket, as the official agent expects it.

Owns the open sockets of this node. It authenticates instances and hands their requests to commands and fleet; it does
not know what a command is for.

- `add_to` adds the endpoint to an application.
- `Gateway.drain` closes its sockets when the node stops.
- `Adopters` says who takes in hosts that the server does not know any more, after a restore.

`routes` has the addresses and `gateway` the loops; `authentication` finds out whose request it is; `enrolment`,
`presence`, `tasks`, `kicking` and `self_reports` have the handlers; `reports` and `spool` store what agents report.
"""

from backfleet.endpoints.agents.adopters import Adopters
from backfleet.endpoints.agents.gateway import Gateway, add_to

__all__ = ["Adopters", "Gateway", "add_to"]
