"""Texts as literals of each language, so that the program has exactly the text, whatever is in it."""

from collections.abc import Callable, Mapping

SHORT_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
LONGEST_JAVA = 16_000  # characters of one literal: a class file holds 65,535 bytes of each


def python(text: str) -> str:
    """Return a Python literal."""
    return _quoted(text, lambda code: f"\\x{code:02x}" if code < 0x100 else _short_or_long(code))


def go(text: str) -> str:
    """Return a Go literal."""
    return _quoted(text, _short_or_long)


def typescript(text: str) -> str:
    """Return a TypeScript literal."""
    escapes = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return "'" + _escaped(text, escapes, lambda code: f"\\u{{{code:x}}}") + "'"


def java(text: str) -> str:
    """Return a Java expression of ASCII characters: a compiler without `-encoding` reads it the same."""
    pieces = [text[at : at + LONGEST_JAVA] for at in range(0, len(text), LONGEST_JAVA)] or [""]
    literals = [_quoted(piece, _as_java, only_ascii=True) for piece in pieces]
    return literals[0] if len(literals) == 1 else f'String.join("", {", ".join(literals)})'


def shell(text: str) -> str:
    """Return a word of a shell (bash, zsh): quoted only where it must be, on one line."""
    if text and all(each.isascii() and (each.isalnum() or each in "_-./:=@%+,") for each in text):
        return text if not text.startswith(("=", "%", "-")) else f"'{text}'"
    if text.isprintable():
        return "'" + text.replace("'", "'\\''") + "'"
    escapes = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return f"$'{_escaped(text, escapes, _as_bytes)}'"


def _quoted(text: str, unprintable: Callable[[int], str], *, only_ascii: bool = False) -> str:
    return f'"{_escaped(text, SHORT_ESCAPES, unprintable, only_ascii=only_ascii)}"'


def _escaped(
    text: str, short: Mapping[str, str], unprintable: Callable[[int], str], *, only_ascii: bool = False
) -> str:
    """Return a text with its escapes. What is not printable is escaped: it could pretend to be other code."""
    return "".join(
        short.get(each)
        or (each if each.isprintable() and (each.isascii() or not only_ascii) else unprintable(ord(each)))
        for each in text
    )


def _short_or_long(code: int) -> str:
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _as_java(code: int) -> str:
    """Return octal for control characters: `\\u000a` would end the line before the literal is read."""
    if code < 0x80:
        return f"\\{code:03o}"
    units = chr(code).encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _as_bytes(code: int) -> str:
    return "".join(f"\\x{byte:02x}" for byte in chr(code).encode())
