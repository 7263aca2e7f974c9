"""What an upgrade reads or changes: trees, shims, services, processes, preserved state, policy."""
