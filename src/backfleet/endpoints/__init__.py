"""Where outsiders come in. Each endpoint speaks its callers' protocol and finds out who they are. All are async."""
