"""Reading whole lists from the server, page by page."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from backfleet.cli._client import Client

CLIENTS_PAGE: Final = 99  # per call: the API's maximum
HOSTS_PAGE: Final = 50
TRIES: Final = 3  # of a list that changed while it was read

Rows = list[dict[str, Any]]


def list_clients(api: Client, most: int | None = None, filters: Mapping[str, object] | None = None) -> Rows:
    """Return the clients of the account, oldest first; `most` ends the list early."""

    def page(number: int) -> tuple[Rows, int]:
        asked = {**(filters or {}), "PageNumber": number, "PageSize": CLIENTS_PAGE}
        answer = api.call("hbr", "DescribeBackupClients", ClientType="ECS_CLIENT", **asked)
        return answer["Clients"], answer["TotalCount"]

    return _whole(page, "ClientId", CLIENTS_PAGE, most)


def list_hosts(api: Client, most: int | None = None, filters: Mapping[str, object] | None = None) -> Rows:
    """Return the enrolled hosts of the account; `most` ends the list early."""
    region = api.region()

    def page(number: int) -> tuple[Rows, int]:
        asked = {**(filters or {}), "PageNumber": number, "PageSize": HOSTS_PAGE}
        answer = api.call("ecs", "DescribeManagedInstances", RegionId=region, **asked)
        return answer["Instances"], answer["TotalCount"]

    return _whole(page, "InstanceId", HOSTS_PAGE, most)


def _whole(page: Callable[[int], tuple[Rows, int]], key: str, size: int, most: int | None) -> Rows:
    """Return all rows, each once. Rows that come or go while pages are read move others: then it is read again."""
    found: dict[str, dict[str, Any]] = {}
    for _ in range(TRIES):
        found, first_total, number = {}, -1, 0
        while True:
            number += 1
            rows, total = page(number)
            found |= {row[key]: row for row in rows}
            first_total = total if first_total < 0 else first_total
            if most is not None and len(found) >= most:
                return list(found.values())[:most]
            if len(rows) < size or number * size >= total:
                break
        if total == first_total:
            break
    return list(found.values())
