"""What is on this host: trees, locks, services, processes, preserved state, policy."""
