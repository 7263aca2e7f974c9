"""Text that is redrawn in place on a terminal; elsewhere it is printed where it changed."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

from backfleet.cli._print import print_text
from backfleet.cli._tables import has_colours


class Drawing:
    """Shows lines, whose parts are escaped and fit the terminal, in place of those before: a context."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._last: list[str] = []
        self._last_size = (0, 0)
        self._undo = contextlib.ExitStack()
        self._console = Console(no_color=not has_colours(), highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._is_terminal = sys.stdout.isatty()

    @property
    def is_redrawn(self) -> bool:
        """Whether a picture replaces the one before: elsewhere one is printed for each change."""
        return self._is_terminal

    @property
    def size(self) -> tuple[int, int]:
        """The columns and lines of the terminal."""
        return self._console.size.width, self._console.size.height

    def __enter__(self) -> "Drawing":
        if self._is_terminal:
            self._undo.enter_context(_without_echo())
            try:
                with _unbroken():
                    self._live.start()
            except KeyboardInterrupt:
                self.__exit__()
                raise
            self._last_size = self.size
        return self

    def __exit__(self, *_failure: object) -> None:
        if self._is_terminal:
            with _unbroken():
                self._live.stop()
                self._undo.close()

    def show(self, lines: Sequence[str]) -> None:
        """Show these lines. Bars in brackets are coloured: # is good, ! is bad."""
        from rich.text import Text

        if list(lines) == self._last and (not self._is_terminal or self.size == self._last_size):
            return
        self._last = list(lines)
        if not self._is_terminal:
            print_text("\n".join(lines))
            return
        text = Text("\n".join(lines), no_wrap=True)
        text.highlight_regex(r"(?<=\[)#+(?=[#!.]*\])", "green")
        text.highlight_regex(r"(?<=[\[#])!+(?=[!.]*\])", "red")
        with _unbroken():
            if self.size != self._last_size:  # lines were wrapped or cut by the terminal: none is where it was drawn
                self._last_size = self.size
                self._console.clear()
            self._live.update(text, refresh=True)


@contextlib.contextmanager
def _unbroken() -> Iterator[None]:
    """Have Ctrl-C wait for the end of this: half a picture would stay, as nobody knows what of it was drawn."""
    pressed = []
    is_main = threading.current_thread() is threading.main_thread()  # only there may handlers be set
    before = signal.signal(signal.SIGINT, lambda *_: pressed.append(True)) if is_main else None
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGINT, before or signal.SIG_DFL)
        if pressed:
            signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def _without_echo() -> Iterator[None]:
    """Keep what is typed, Ctrl-C too, from being shown within the picture, whose lines would no longer be in place."""
    import termios

    try:
        before = termios.tcgetattr(sys.stdin)
    except (termios.error, ValueError, OSError):  # it is no terminal
        yield
        return
    quiet = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    try:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, quiet)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
