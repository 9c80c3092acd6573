"""What a person sees while a run works: bars on a terminal, plain lines in a pipe."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from spice_keras.errors import raise_if_interrupted

_PLAIN_INTERVAL = 10.0  # seconds between two lines of one task in a pipe
_WIDE = 100  # columns from which on a bar may be long


class Loudness(IntEnum):
    """How much is said: `--quiet`, nothing given, `--verbose`."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2


def clock(seconds: float) -> str:
    """Format a duration as 0:07, 12:34 or 1:02:03."""
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    head = f"{hours}:{minutes:02d}" if hours else str(minutes)
    return f"{head}:{whole % 60:02d}"


class Task:
    """One counted piece of work on the screen: its rate and the time it has left.

    Args:
        screen: Where it shows.
        title: What is being done.
        total: Steps in all.
        unit: What is counted for the rate, `images`.
        per_step: How many of them one step handles.
        start: Steps done before, by an interrupted run.
    """

    def __init__(
        self, screen: Screen, title: str, total: int, unit: str, per_step: int, start: int
    ) -> None:
        self._screen, self._title, self._total = screen, title, total
        self._unit, self._per_step, self._start = unit, per_step, start
        self._done, self._text = start, ""
        self._began = self._shown = time.monotonic()
        # The first step traces graphs and opens files; a rate that counts it foretells hours.
        self._counted_from: tuple[int, float] | None = None
        self._bar: Progress | None = None
        if screen.draws_bars:
            self._bar = Progress(
                TextColumn("{task.description:<10}"),
                BarColumn(bar_width=self._bar_width),
                TextColumn("{task.fields[facts]}", markup=False, table_column=Column(no_wrap=True)),
                console=screen.console,
                transient=True,
            )
            self._bar_id = self._bar.add_task(title, total=total, completed=start, facts="")
            self._bar.start()

    @property
    def rate(self) -> float:
        """Units a second since the first step was done; of that one alone, since the task began."""
        done, since = self._start, self._began
        if self._counted_from is not None and self._done > self._counted_from[0]:
            done, since = self._counted_from
        return (self._done - done) * self._per_step / max(time.monotonic() - since, 1e-9)

    @property
    def _bar_width(self) -> int:
        return 24 if self._screen.console.width >= _WIDE else 12

    def _facts(self) -> str:
        counted = f"{self._done}/{self._total}"
        if self._counted_from is None or self._done <= self._counted_from[0]:
            return counted
        rate = self.rate
        left = (self._total - self._done) * self._per_step / rate if rate else 0.0
        parts = [counted, f"{rate:,.0f} {self._unit}/s", f"{clock(left)} left"]
        return " · ".join([*parts, self._text] if self._text else parts)

    def _fitting_facts(self) -> str:
        """The facts that fit beside the bar on one line."""
        text = self._facts()
        space = self._screen.console.width - max(10, len(self._title)) - self._bar_width - 3
        return text if len(text) <= space else text[: max(space - 1, 0)] + "…"

    def advance(self, steps: int = 1) -> None:
        """Count steps done; end here if Ctrl-C or SIGTERM came and went unheard."""
        raise_if_interrupted()
        self._done += steps
        now = time.monotonic()
        if self._counted_from is None:
            self._counted_from = (self._done, now)
        if self._bar is not None:
            facts = self._fitting_facts()
            self._bar.update(self._bar_id, completed=self._done, facts=facts)
        elif now - self._shown >= _PLAIN_INTERVAL:
            self._shown = now
            self._screen.say(f"{self._title}: {self._facts()}")

    def note(self, text: str) -> None:
        """Set the figures shown beside the rate."""
        self._text = text

    def close(self, *, completed: bool) -> None:
        """Take the bar away and leave one line in its place."""
        if self._bar is not None:
            self._bar.stop()
        elapsed = clock(time.monotonic() - self._began)
        if completed:
            parts = [elapsed, f"{self.rate:,.0f} {self._unit}/s"]
            self._screen.say(f"{self._title}: " + " · ".join([*parts, self._text]).rstrip(" ·"))


class Screen:
    """Everything a run says goes through here, to standard error.

    Args:
        loudness: How much is said.
        console: A Rich console; None for standard error.
    """

    def __init__(
        self, loudness: Loudness = Loudness.NORMAL, console: Console | None = None
    ) -> None:
        self.loudness = loudness
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)

    @property
    def draws_bars(self) -> bool:
        """Bars need a terminal and leave to speak."""
        return self.loudness >= Loudness.NORMAL and self.console.is_terminal

    def say(self, text: str) -> None:
        """Say something a user wants to know."""
        if self.loudness >= Loudness.NORMAL:
            self.console.print(text, markup=False, emoji=False)

    def detail(self, text: str) -> None:
        """Say something only `--verbose` wants to know."""
        if self.loudness >= Loudness.VERBOSE:
            self.console.print(text, markup=False, emoji=False)

    def warn(self, text: str) -> None:
        """Say something even `--quiet` must not hide."""
        self.console.print(f"Note: {text}", markup=False, emoji=False)

    @contextmanager
    def task(
        self, title: str, total: int, *, unit: str = "images", per_step: int = 1, start: int = 0
    ) -> Iterator[Task]:
        """Show a counted piece of work while the block runs."""
        task = Task(self, title, total, unit, per_step, start)
        completed = False
        try:
            yield task
            completed = True
        finally:
            task.close(completed=completed)


def silent_screen() -> Screen:
    """Return a screen for use from Python: warnings only."""
    return Screen(Loudness.QUIET)
