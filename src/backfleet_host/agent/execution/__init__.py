"""Tasks at work on this host: taken on once, run, watched, reported to the end."""
