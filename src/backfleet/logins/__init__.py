"""Logins of people to the console: their sessions, and codes that log in once.

Owns the tables console_sessions and login_codes. Both keep only hashes of what a browser shows. A session belongs to an
access key or to a security token, and is over as soon as that is: nothing of what its person may do is stored here.

- `check_secret` compares a key's secret, `begin` begins a session, `find` returns it with its caller, `end` ends it;
  `end_all` ends all, after a restore: those that had ended are in the copy.
- `make_code` makes a code that begins one session of its maker, `use_code` accepts it once.
- `purge` deletes what is over.
- `logins.oidc` logs people in by an identity provider.
"""

from backfleet.logins.codes import CODE_LIFE, make_code, use_code
from backfleet.logins.model import Credential, Lifetime, Session
from backfleet.logins.sessions import begin, check_secret, end, end_all, find, purge

__all__ = [
    "CODE_LIFE",
    "Credential",
    "Lifetime",
    "Session",
    "begin",
    "check_secret",
    "end",
    "end_all",
    "find",
    "make_code",
    "purge",
    "use_code",
]
