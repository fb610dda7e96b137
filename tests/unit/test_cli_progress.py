"""Progress is drawn where somebody watches, and gone when the work is done."""

from __future__ import annotations

import io
import sys

import pytest

from flowtime.cli import render


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_rows_rate_and_share_are_drawn_and_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(render, "PATIENCE", -1.0)
    monkeypatch.setattr(render, "PAUSE", -1.0)
    with render.progress("importing") as tell:
        assert tell is not None
        tell(1_234_567, 0.5)
        drawn = terminal.getvalue()
        tell(2_000_000, None)
    assert "importing  ██████████░░░░░░░░░░  50%  1,234,567 rows" in drawn
    assert "rows/s" in drawn
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_nothing_is_drawn_for_quick_work(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(render, "PATIENCE", 1e9)
    with render.progress("importing") as tell:
        assert tell is not None
        tell(5, 1.0)
    assert terminal.getvalue() == ""


def test_nobody_watches_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with render.progress("exporting") as tell:
        assert tell is None
