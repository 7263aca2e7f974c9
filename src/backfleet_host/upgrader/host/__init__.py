"""Everything that an upgrade reads or changes here: trees, shims, services, processes, preserved state, policy."""
