"""Bars only where a person can see them."""

from __future__ import annotations

import io
import sys

import pytest

from diffconsole.progress import bar, bars, steps


class Terminal(io.StringIO):
    """What a terminal looks like to a program."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("silent", [True, False])
@pytest.mark.parametrize("terminal", [True, False])
def test_only_a_terminal_sees_a_bar(monkeypatch, capsys, terminal, silent):
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", stream)
    with bar("measuring", silent=silent) as update:
        print("a result")
        update(0.5, "half of it")
        update(2.0, "more than all")  # what a time budget may give
    shown = stream.getvalue()
    assert ("measuring" in shown) == (terminal and not silent)
    assert ("100 %" in shown) == (terminal and not silent)
    assert capsys.readouterr().out == "a result\n"


def test_steps_gives_every_item(monkeypatch):
    stream = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(steps("abc", "letters", silent=False)) == ["a", "b", "c"]
    assert "3 of 3" in stream.getvalue()
    assert list(steps([], "nothing", silent=False)) == []


def test_an_error_inside_passes():
    with pytest.raises(ZeroDivisionError), bar("x", silent=False):
        raise ZeroDivisionError


def test_bars_come_one_after_the_other(monkeypatch):
    stream = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", stream)
    with bars(silent=False) as progress:
        progress("training", 0.5, "loss 1.000")
        progress("training", 1.0, "loss 0.500")
        progress("measuring", 0.25, "1 of 4")
    shown = stream.getvalue()
    # A bar is taken away when it ends, so what is shown last of each is its own last state.
    assert shown.rindex("loss 0.500") < shown.index("measuring")
    assert "training" not in shown[shown.index("measuring") :]


def test_silent_bars_show_nothing(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with bars(silent=True) as progress:
        progress("training", 0.5, "")
    assert stream.getvalue() == ""
