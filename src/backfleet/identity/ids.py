"""Ids of accounts, users and the like: decimal numbers, as in the cloud."""

from backfleet.ids import Draw


def digits(draw: Draw, length: int) -> str:
    """Return decimal digits from a source of letters and digits."""
    return "".join(str(ord(character) % 10) for character in draw(length))
