"""Ctrl-C in the very moment in which something is drawn: nothing of it stays on the screen."""

import io
import signal
import sys

import pyte
import pytest

from backfleet.cli._drawing import Drawing


class Interrupted(io.StringIO):
    """A terminal at which somebody presses Ctrl-C while so many pieces of text have arrived."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.left = pieces

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        written = super().write(text)
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)
        return written


def draw() -> None:
    with Drawing() as drawing:
        for number in range(3):
            drawing.show([f"[##..] {number} of 3 done", "HOST  STATUS", f"host  {number}"])
        drawing.show(["[####] the last picture"])


def test_ctrl_c_in_the_middle_of_a_picture_leaves_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    undisturbed = Interrupted(pieces=0)
    monkeypatch.setattr(sys, "stdout", undisturbed)
    draw()
    assert undisturbed.left < -4
    for pieces in range(1, 1 - undisturbed.left):
        terminal = Interrupted(pieces)
        monkeypatch.setattr(sys, "stdout", terminal)
        with pytest.raises(KeyboardInterrupt):
            draw()
        screen = pyte.Screen(80, 24)
        pyte.Stream(screen).feed(terminal.getvalue().replace("\n", "\r\n"))
        assert [line.rstrip() for line in screen.display if line.strip()] == [], pieces
        assert not screen.cursor.hidden
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
