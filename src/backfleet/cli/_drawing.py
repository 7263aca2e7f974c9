"""Text that is redrawn in place on a terminal; elsewhere it is printed where it changed."""

import sys
from collections.abc import Sequence
from typing import Final

from backfleet.cli._print import print_text
from backfleet.cli._tables import has_colours

REDRAWN_A_SECOND: Final = 4


class Drawing:
    """Shows lines, whose parts are escaped and fit the terminal, in place of those before: a context."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._last: list[str] = []
        self._console = Console(no_color=not has_colours(), highlight=False)
        self._live = Live(console=self._console, refresh_per_second=REDRAWN_A_SECOND, transient=True)
        self._is_terminal = sys.stdout.isatty()

    @property
    def size(self) -> tuple[int, int]:
        """The columns and lines of the terminal."""
        return self._console.size.width, self._console.size.height

    def __enter__(self) -> "Drawing":
        if self._is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_failure: object) -> None:
        if self._is_terminal:
            self._live.stop()

    def show(self, lines: Sequence[str]) -> None:
        """Show these lines. Bars in brackets are coloured: # is good, ! is bad."""
        from rich.text import Text

        if list(lines) == self._last:
            return
        self._last = list(lines)
        if not self._is_terminal:
            print_text("\n".join(lines))
            return
        text = Text("\n".join(lines), no_wrap=True)
        text.highlight_regex(r"(?<=\[)#+(?=[#!.]*\])", "green")
        text.highlight_regex(r"(?<=[\[#])!+(?=[!.]*\])", "red")
        self._live.update(text, refresh=True)
