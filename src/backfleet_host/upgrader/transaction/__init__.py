"""One order as one transaction: checks, steps, outcome, rollback, recovery."""
