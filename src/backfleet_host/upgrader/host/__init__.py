"""Everything on this host that an upgrade reads or changes: trees, the shim, services, processes, preserved state, policy."""
