"""A Cloud Assistant agent in Python: enrol, heartbeat, fetch, run, report."""
