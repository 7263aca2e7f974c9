"""Setting a host up: enrolment with a server, and the agent as a systemd unit."""
