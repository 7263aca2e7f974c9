"""One HTTP request for metadata or bytes: through the host's proxy, trusting its authority alone, with a time limit."""

from __future__ import annotations

import contextlib
import queue
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Tuple

import urllib3

from backfleet_host.proxy import BadProxy, bare, proxy_for
from backfleet_host.retries import retry_after_seconds
from backfleet_host.upgrader.errors import OrderFailed, Reason
from backfleet_host.upgrader.release.source import InterruptCheck, ReleaseServer
from backfleet_host.web import connections, readable

CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
POLL_SECONDS = 0.2  # between two interrupt checks
OK, PARTIAL, NO_SUCH_RANGE = 200, 206, 416
_LASTING = ("CERTIFICATE_VERIFY_FAILED", "Tunnel connection failed: 407")
"""Marks of failures that stay: another authority's certificate, and a proxy that does not take the password."""
_BUSY = frozenset({408, 425, 429})


class DownloadInterrupted(Exception):
    """The network or the server failed.

    Attributes:
        passing: another try may succeed.
        wait: the seconds after which the server asks to be tried again; 0 = it does not say.
        status: of the HTTP answer; 0 = there was none.
    """

    def __init__(
        self, text: str, reason: Reason = "NotReachable", *, passing: bool = True, wait: float = 0.0, status: int = 0
    ) -> None:
        super().__init__(text)
        self.reason, self.passing, self.wait, self.status = reason, passing, wait, status


@contextlib.contextmanager
def request(
    server: ReleaseServer,
    address: str,
    check_interrupted: InterruptCheck,
    headers: Mapping[str, str] = {},
    accepted: Tuple[int, ...] = (OK,),
) -> Iterator[Any]:
    """Send a GET request and yield the answer, its body still to be read.

    Raises:
        DownloadInterrupted: there is no answer, or its status is not accepted; and whatever fails while the body is
            read.
        OrderFailed: the order was interrupted, or the host policy cannot be read.
    """
    proxy = _proxy(server) if server.uses_proxy else ""
    pool = _pool(server.ca_file, proxy)
    with _translated_errors(proxy):
        response = _interruptible(lambda: _opened(pool, address, headers), check_interrupted)
        try:
            if response.status not in accepted:
                raise _not_served(response)
            yield response
        finally:
            response.close()  # an answer that was read to its end has returned its connection to the pool before


def _proxy(server: ReleaseServer) -> str:
    try:
        return proxy_for(server.policy_folder)
    except BadProxy as problem:
        raise OrderFailed("DownloadFailed", str(problem), "NotReachable") from None


def _opened(pool: urllib3.PoolManager, address: str, headers: Mapping[str, str]) -> Any:
    timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
    return pool.request(
        "GET", address, headers=headers, preload_content=False, retries=False, redirect=False, timeout=timeout
    )


def _interruptible(work: Callable[[], Any], check_interrupted: InterruptCheck) -> Any:
    """Return or raise what `work` does. If the check raises first, `work` is left behind in its thread.

    The library's time limits are for each read: a server whose headers come byte by byte would hold us for ever.
    """
    results: queue.SimpleQueue[Tuple[Any, Optional[BaseException]]] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((work(), None))
        except BaseException as problem:  # noqa: BLE001 - raised again in the caller's thread
            results.put((None, problem))

    threading.Thread(target=run, daemon=True).start()
    while True:
        with contextlib.suppress(queue.Empty):
            found, problem = results.get(timeout=POLL_SECONDS)
            if problem is not None:
                raise problem
            return found
        check_interrupted()


def _not_served(response: Any) -> DownloadInterrupted:
    status = response.status
    passing = status >= 500 or status in _BUSY
    wait = retry_after_seconds(response.headers) if passing else 0.0
    text = f"the server answered with HTTP status {status}"
    return DownloadInterrupted(text, "NotServed", passing=passing, wait=wait, status=status)


@contextlib.contextmanager
def _translated_errors(proxy: str) -> Iterator[None]:
    try:
        yield
    except urllib3.exceptions.HTTPError as problem:
        through = f" (through the proxy {bare(proxy)})" if proxy else ""
        passing = not any(mark in str(problem) for mark in _LASTING)
        raise DownloadInterrupted(f"{readable(problem)}{through}", passing=passing) from None


_POOLS: Dict[Tuple[Optional[Path], str], urllib3.PoolManager] = {}


def _pool(ca_file: Optional[Path], proxy: str) -> urllib3.PoolManager:
    """Return the one pool for an authority and a proxy: connections are reused within an order."""
    key = ca_file, proxy
    if key not in _POOLS:
        _POOLS[key] = connections(proxy, **({"ca_certs": str(ca_file)} if ca_file else {}))
    return _POOLS[key]
