"""An inventory as a CSV file: the fleet that a simulation runs on where no server is asked."""

import csv
from collections.abc import Iterable
from typing import Final

from backfleet.rollouts.assignment import Candidate

MOST_CLIENTS: Final = 1_000_000
LONGEST_FIELD: Final = 256  # characters
_COLUMNS: Final = ("client", "instance", "version", "platform", "channel", "zone", "reachable")
_TAG: Final = "tag:"
_NO: Final = ("no", "false", "0")


class InventoryRefused(Exception):
    """The file is no inventory: the text says where, what was found and what would do."""


def read_inventory(lines: Iterable[str]) -> list[Candidate]:
    """Read an inventory: a header, then a client a line.

    Columns are `client`, `instance`, `version`, `platform`, `channel`, `zone`, `reachable` (`yes` or `no`) and
    `tag:NAME` for each tag. Only `client` must be there.

    Raises:
        InventoryRefused: with the line.
    """
    rows = csv.reader(lines)
    try:
        header = [each.strip() for each in next(rows, [])]
        _check_header(header)
        tags = [(at, name.removeprefix(_TAG)) for at, name in enumerate(header) if name.startswith(_TAG)]
        place = {name: at for at, name in enumerate(header)}
        known: dict[str, Candidate] = {}
        for row in rows:
            if not row:
                continue
            found = _candidate(row, rows.line_num, len(header), place, tags)
            if found.client_id in known:
                raise InventoryRefused(
                    f"line {rows.line_num}: client {found.client_id!r} is listed twice; list it once"
                )
            known[found.client_id] = found
            if len(known) > MOST_CLIENTS:
                raise InventoryRefused(f"line {rows.line_num}: more than {MOST_CLIENTS} clients; give fewer")
    except (csv.Error, UnicodeDecodeError) as problem:
        raise InventoryRefused(f"line {rows.line_num}: no CSV in UTF-8: {problem}") from None
    if not known:
        raise InventoryRefused("it lists no client; give a header and at least one line")
    return list(known.values())


def _check_header(header: list[str]) -> None:
    unknown = [name for name in header if name not in _COLUMNS and not name.startswith(_TAG)]
    if "client" not in header or unknown or len(set(header)) != len(header):
        found = ",".join(header)[:LONGEST_FIELD] or "nothing"
        raise InventoryRefused(
            f"line 1: found {found}; give a header of {', '.join(_COLUMNS)} and `tag:NAME`, each once"
        )


def _candidate(
    row: list[str], line: int, columns: int, place: dict[str, int], tags: list[tuple[int, str]]
) -> Candidate:
    if len(row) != columns:
        raise InventoryRefused(f"line {line}: {len(row)} fields; the header has {columns}")
    if max(map(len, row)) > LONGEST_FIELD:
        raise InventoryRefused(f"line {line}: a field is longer than {LONGEST_FIELD} characters")

    def field(name: str, default: str = "") -> str:
        return row[place[name]].strip() if name in place else default

    client = field("client")
    if not client:
        raise InventoryRefused(f"line {line}: no client; give each line one")
    return Candidate(
        client_id=client,
        instance_id=field("instance", client),
        version=field("version"),
        platform=field("platform"),
        channel=field("channel"),
        tags={name: row[at] for at, name in tags if row[at]},
        is_reachable=field("reachable", "yes").lower() not in _NO,
        zone=field("zone"),
    )
