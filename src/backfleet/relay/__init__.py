"""A relay for a site: a cache of signed metadata and artifacts near the hosts, behind a thin line.

It trusts nothing and is trusted with nothing: hosts verify what comes from it as they verify what comes from the server
(0079). It has no database, no key and no secret, and knows no host.

- `Relay` answers; `add_to` adds its addresses to an application.
- `run` serves until a signal; a `Place` says where.
"""

from backfleet.relay._cache import Cache, CacheInUse
from backfleet.relay._endpoint import Relay, add_to
from backfleet.relay._serving import Place, run
from backfleet.relay._upstream import Upstream

__all__ = ["Cache", "CacheInUse", "Place", "Relay", "Upstream", "add_to", "run"]
