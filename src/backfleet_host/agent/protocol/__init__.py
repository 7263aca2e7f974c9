"""What travels between this host and its server: requests, sockets, task lists, reports (agent protocol page)."""
