"""Where outsiders come in: each door speaks its visitors' language and finds out who they are. Async, all of them."""
