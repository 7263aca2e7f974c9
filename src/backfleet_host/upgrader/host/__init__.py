"""Everything on this host that an upgrade reads or changes: disk, trees, locks, services, processes, state, policy."""
