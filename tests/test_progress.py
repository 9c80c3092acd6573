"""The screen: bars on a terminal, plain lines in a pipe, as loud as asked."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from spice_keras import progress as screen_module
from spice_keras.progress import Loudness, Screen, clock, silent_screen


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    """A clock that moves when it is told to."""
    hand = _Clock()
    monkeypatch.setattr(screen_module.time, "monotonic", hand)
    return hand


def _screen(loudness: Loudness, *, terminal: bool) -> tuple[Screen, io.StringIO]:
    file = io.StringIO()
    console = Console(
        file=file, force_terminal=terminal, width=120, highlight=False, soft_wrap=True,
        color_system=None, _environ={},
    )  # fmt: skip
    return Screen(loudness, console), file


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0:00"),
        (0.4, "0:00"),
        (7.2, "0:07"),
        (59.6, "1:00"),
        (754.0, "12:34"),
        (3599.7, "1:00:00"),
        (3723.0, "1:02:03"),
        (360_000.0, "100:00:00"),
        (-1.0, "0:00"),
    ],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("loudness", "expected"),
    [
        (Loudness.QUIET, "Note: bad\n"),
        (Loudness.NORMAL, "news\nNote: bad\n"),
        (Loudness.VERBOSE, "news\nsmall\nNote: bad\n"),
    ],
)
def test_how_much_is_said(loudness: Loudness, expected: str) -> None:
    screen, file = _screen(loudness, terminal=False)
    screen.say("news")
    screen.detail("small")
    screen.warn("bad")
    assert file.getvalue() == expected


def test_brackets_and_long_lines_stay_as_they_are() -> None:
    screen, file = _screen(Loudness.NORMAL, terminal=False)
    text = "[bold]not markup[/bold] [1, 2] :smile: " + "x" * 300
    screen.say(text)
    assert file.getvalue() == text + "\n"


def test_a_pipe_gets_a_line_now_and_then_and_one_at_the_end(time: _Clock) -> None:
    screen, file = _screen(Loudness.NORMAL, terminal=False)
    assert not screen.draws_bars
    with screen.task("pretrain", 100, per_step=32) as task:
        for _ in range(100):
            time.now += 0.25
            task.note("loss 1.00")
            task.advance()
    lines = file.getvalue().splitlines()
    assert lines == [
        "pretrain: 40/100 · 128 images/s · 0:15 left · loss 1.00",
        "pretrain: 80/100 · 128 images/s · 0:05 left · loss 1.00",
        "pretrain: 0:25 · 128 images/s · loss 1.00",
    ]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", file.getvalue())


def test_the_first_step_does_not_count(time: _Clock) -> None:
    screen, file = _screen(Loudness.NORMAL, terminal=False)
    with screen.task("pretrain", 100) as task:
        time.now += 60.0  # graphs are traced
        task.advance()
        for _ in range(20):
            time.now += 1.0
            task.advance()
    assert file.getvalue().splitlines() == [
        "pretrain: 1/100",  # no estimate from that one
        "pretrain: 11/100 · 1 images/s · 1:29 left",
        "pretrain: 21/100 · 1 images/s · 1:19 left",
        "pretrain: 1:20 · 1 images/s",
    ]


def test_a_single_step_still_has_a_rate(time: _Clock) -> None:
    screen, file = _screen(Loudness.NORMAL, terminal=False)
    with screen.task("export", 1, per_step=20) as task:
        time.now += 2.0
        task.advance()
    assert file.getvalue() == "export: 0:02 · 10 images/s\n"


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_a_bar_and_its_figures_stay_on_one_line(width: int, time: _Clock) -> None:
    file = io.StringIO()
    console = Console(
        file=file, force_terminal=True, width=width, highlight=False, soft_wrap=True,
        color_system=None, _environ={},
    )  # fmt: skip
    with Screen(Loudness.NORMAL, console).task("pretrain", 123_456, per_step=128) as task:
        for _ in range(3):
            time.now += 1.0
            task.note("loss 1.2345, spread 0.98, neighbour quality 0.7123, rate 0.000123")
            task.advance()
    # The last line is said when the bar is gone, and may be as long as it likes.
    drawn = re.sub(r"\x1b\[[?0-9]*[A-Za-z]", "", file.getvalue()).replace("\r", "\n").split("\n")
    bars = [line for line in drawn if "━" in line]
    assert bars
    assert max(map(len, bars)) <= width
    assert any("left" in line for line in bars)


def test_a_continued_task_counts_from_where_it_was(time: _Clock) -> None:
    screen, file = _screen(Loudness.NORMAL, terminal=False)
    with screen.task("semi", 100, start=60) as task:
        for _ in range(20):
            time.now += 1.0
            task.advance()
        assert task.rate == 1.0  # of the steps done here alone
    assert file.getvalue().splitlines()[0] == "semi: 70/100 · 1 images/s · 0:30 left"


def test_a_task_that_fails_ends_without_the_line_of_success() -> None:
    screen, file = _screen(Loudness.NORMAL, terminal=False)
    with pytest.raises(RuntimeError), screen.task("self", 3):
        raise RuntimeError
    assert file.getvalue() == ""


def test_a_task_with_nothing_done_has_no_rate(time: _Clock) -> None:
    screen, file = _screen(Loudness.NORMAL, terminal=False)
    with screen.task("images", 0) as task:
        assert task.rate == 0.0
    assert file.getvalue() == "images: 0:00 · 0 images/s\n"


def test_a_terminal_gets_a_bar_that_is_taken_away_again() -> None:
    screen, file = _screen(Loudness.NORMAL, terminal=True)
    assert screen.draws_bars
    with screen.task("pretrain", 4, per_step=8) as task:
        for _ in range(4):
            task.note("loss [1.00]")
            task.advance()
    text = file.getvalue()
    assert "━" in text
    assert "4/4" in text
    assert "loss [1.00]" in text
    assert "\x1b[?25l" in text  # the cursor is hidden ...
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # ... and shown again
    last = text.splitlines()[-1]
    assert re.search(r"pretrain: 0:0\d · [\d,]+ images/s · loss \[1\.00\]$", last)


def test_a_bar_is_taken_away_when_the_task_fails() -> None:
    screen, file = _screen(Loudness.NORMAL, terminal=True)
    with pytest.raises(KeyboardInterrupt), screen.task("pretrain", 4):
        raise KeyboardInterrupt
    assert file.getvalue().count("\x1b[?25l") == file.getvalue().count("\x1b[?25h") == 1


@pytest.mark.parametrize("terminal", [False, True])
def test_quiet_shows_no_progress(terminal: bool, time: _Clock) -> None:
    screen, file = _screen(Loudness.QUIET, terminal=terminal)
    with screen.task("pretrain", 3) as task:
        for _ in range(3):
            time.now += 100.0
            task.advance()
    assert file.getvalue() == ""


def test_from_python_only_warnings_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    screen = silent_screen()
    screen.say("news")
    screen.warn("bad")
    captured = capsys.readouterr()
    assert captured.err == "Note: bad\n"
    assert captured.out == ""
