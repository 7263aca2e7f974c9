"""Everything on this host that an upgrade reads or changes: trees, shims, services, processes, state, policy, drift."""
