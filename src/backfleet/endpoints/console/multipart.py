"""Forms with a file (multipart/form-data): the fields come first, bounded, and the file is streamed.

The first field is the form's token: nothing else is read of a form that is not this browser's.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import BodyPartReader, ClientPayloadError, MultipartReader, web

from backfleet.values import value_object
from backfleet.wire.errors import BodyIncomplete

KIND: Final = "multipart/form-data"
MOST_FIELDS: Final = 20
FIELDS_SECONDS: Final = 20.0  # for all fields before the file
LONGEST_FIELD: Final = 64 * 1024  # bytes
PIECE: Final = 256 * 1024  # bytes


class BadForm(ValueError):
    """A form that cannot be read. The text says why to the person."""


@value_object
class SentFile:
    """The file of a form, which is still to be read."""

    name: str
    part: BodyPartReader

    async def next_piece(self) -> bytes:
        """Return the next bytes, none at the end. Raises BodyIncomplete if the form breaks off."""
        try:
            while not self.part.at_eof():
                if piece := await self.part.read_chunk(PIECE):
                    return piece
            return b""
        except (ConnectionError, ClientPayloadError, web.RequestPayloadError, ValueError, AssertionError):
            raise BodyIncomplete from None


async def read_until_file(
    request: web.Request, holds: Callable[[str], bool]
) -> tuple[dict[str, list[str]], SentFile | None]:
    """Return the fields before the file, and the file; None if the form has none.

    Args:
        request: A request with a form of this kind.
        holds: Whether a token is this browser's.

    Raises:
        BadForm: its first field is no such token, or it is none of these forms, or has too much in it.
    """
    try:
        async with asyncio.timeout(FIELDS_SECONDS):
            return await _read(request, holds)
    except TimeoutError:
        raise BadForm("The form did not come within 20 seconds. Send it again.") from None
    except (ConnectionError, ClientPayloadError, web.RequestPayloadError, AssertionError):
        raise BadForm("The form broke off. Send it again.") from None
    except ValueError as problem:
        raise problem if isinstance(problem, BadForm) else BadForm("The form cannot be read.") from None


async def _read(request: web.Request, holds: Callable[[str], bool]) -> tuple[dict[str, list[str]], SentFile | None]:
    fields: dict[str, list[str]] = {}
    reader = await request.multipart()
    while (part := await reader.next()) is not None:
        if isinstance(part, MultipartReader) or len(fields) >= MOST_FIELDS:
            raise BadForm("The form has too many fields.")
        if not fields and (part.name != "form_token" or not holds(await _text(part))):
            raise BadForm("The form is of another login, or too old. Nothing was done: open the page again.")
        if not fields:
            fields["form_token"] = [""]
        elif part.filename is not None:
            return fields, SentFile(part.filename[:255], part)
        else:
            fields.setdefault(str(part.name)[:64], []).append(await _text(part))
    return fields, None


async def _text(part: BodyPartReader) -> str:
    found = bytearray()
    while not part.at_eof():
        found += await part.read_chunk(8192)
        if len(found) > LONGEST_FIELD:
            raise BadForm("A field of the form is too long.")
    return found.decode(errors="replace")
