"""One request for metadata or bytes: by way of this host's proxy, trusting its authority alone, and never for ever."""

from __future__ import annotations

import contextlib
import queue
import re
import threading
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, Mapping, Optional, Tuple

import urllib3

from backfleet_host.proxy import BadProxy, bare, proxy_for
from backfleet_host.upgrader.refusal import Reason, Refusal
from backfleet_host.upgrader.release.source import GoOn
from backfleet_host.web import connections, plainly

if TYPE_CHECKING:
    from backfleet_host.upgrader.host.installation import Site

CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
LOOK_SECONDS = 0.2  # how often it is asked whether there is time for more
OK, PARTIAL, NO_SUCH_RANGE = 200, 206, 416
_BUSY = frozenset({408, 425, 429})


class Broken(Exception):
    """The network or the server failed. `passing`: it may be better next time. `wait`: the server's wish, seconds."""

    def __init__(
        self, text: str, reason: Reason = "NotReachable", *, passing: bool = True, wait: float = 0.0, status: int = 0
    ) -> None:
        super().__init__(text)
        self.reason, self.passing, self.wait, self.status = reason, passing, wait, status


@contextlib.contextmanager
def answer(
    site: Site,
    address: str,
    go_on: GoOn,
    headers: Mapping[str, str] = {},
    wanted: Tuple[int, ...] = (OK,),
) -> Iterator[Any]:
    """The server's answer, its body still to be read.

    Raises:
        Broken: none, or another status than is wanted; and whatever breaks while the body is read.
        Refusal: there is no time for more, or what this host's administrator says cannot be read.
    """
    proxy = _way(site)
    pool = _pool(site.ca_file, proxy)
    with _troubles_named(proxy):
        response = _patiently(lambda: _opened(pool, address, headers), go_on)
        try:
            if response.status not in wanted:
                raise _not_served(response)
            yield response
        finally:
            response.close()  # one that was read to its end has given its connection back before


def _way(site: Site) -> str:
    try:
        return proxy_for(site.etc)
    except BadProxy as problem:
        raise Refusal("DownloadFailed", str(problem), "NotReachable") from None


def _opened(pool: urllib3.PoolManager, address: str, headers: Mapping[str, str]) -> Any:
    patience = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
    return pool.request(
        "GET", address, headers=headers, preload_content=False, retries=False, redirect=False, timeout=patience
    )


def _patiently(work: Callable[[], Any], go_on: GoOn) -> Any:
    """What work gives or raises; it is left to itself once there is no time for more.

    The library's time limits are for each read: a server whose first lines come byte by byte would hold us for ever.
    """
    box: queue.SimpleQueue[Tuple[Any, Optional[BaseException]]] = queue.SimpleQueue()

    def run() -> None:
        try:
            box.put((work(), None))
        except BaseException as problem:  # noqa: BLE001 - raised again where it was asked for
            box.put((None, problem))

    threading.Thread(target=run, daemon=True).start()
    while True:
        with contextlib.suppress(queue.Empty):
            found, problem = box.get(timeout=LOOK_SECONDS)
            if problem is not None:
                raise problem
            return found
        go_on()


def _not_served(response: Any) -> Broken:
    status = response.status
    passing = status >= 500 or status in _BUSY
    wait = wish_to_wait(response.headers) if passing else 0.0
    return Broken(f"the server answered {status}", "NotServed", passing=passing, wait=wait, status=status)


def wish_to_wait(headers: Mapping[str, str]) -> float:
    """In how many seconds the server wants to be asked again, by its own clock; 0 = it does not say."""
    said = headers.get("Retry-After", "").strip()
    if re.fullmatch("[0-9]{1,9}", said):
        return float(said)
    try:
        return max(0.0, (parsedate_to_datetime(said) - parsedate_to_datetime(headers["Date"])).total_seconds())
    except (KeyError, TypeError, ValueError):
        return 0.0


@contextlib.contextmanager
def _troubles_named(proxy: str) -> Iterator[None]:
    try:
        yield
    except urllib3.exceptions.HTTPError as problem:
        way = f" (by way of the proxy {bare(proxy)})" if proxy else ""
        raise Broken(f"{plainly(problem)}{way}") from None


_POOLS: Dict[Tuple[Optional[Path], str], urllib3.PoolManager] = {}


def _pool(ca_file: Optional[Path], proxy: str) -> urllib3.PoolManager:
    """One pool per authority and proxy: connections are kept within an order."""
    key = ca_file, proxy
    if key not in _POOLS:
        _POOLS[key] = connections(proxy, **({"ca_certs": str(ca_file)} if ca_file else {}))
    return _POOLS[key]
