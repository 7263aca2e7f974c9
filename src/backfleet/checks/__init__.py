"""What is wrong with an installation, as findings: what was found, how bad it is, what to do.

Owns no table. `checks.machine` looks at one data folder and one process: the server checks itself with it, and
`backfleet doctor` a server of its own machine that does not answer. What only the database knows is found by the
operation GetServerHealth, what only a caller can see by the command line. Both speak of it in `Finding`s.
"""

from backfleet.checks.finding import Finding, Severity, in_time, named_some, worst

__all__ = ["Finding", "Severity", "in_time", "named_some", "worst"]
