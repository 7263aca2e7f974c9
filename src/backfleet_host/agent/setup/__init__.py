"""Making a host belong to a server: enrolment, and the agent as a unit of systemd."""
