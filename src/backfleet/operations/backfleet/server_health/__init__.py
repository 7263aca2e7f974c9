"""GetServerHealth: every check of the server and of an account's hosts, each with what to do.

`installation` has the checks of what belongs to all accounts, `hosts` those of an account's hosts and clients,
`clouds` those of its cloud accounts, `waiting` those of queues, `permissions` what the caller may not do.
"""

from backfleet.operations.backfleet.server_health.operation import GetServerHealth, get_server_health

__all__ = ["GetServerHealth", "get_server_health"]
