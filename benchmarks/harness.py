"""Two or more ways to do the same work, timed in turns within one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.workers import Contender, Seconds, Unavailable, Worker

# A library's threads go on spinning for a moment after their work; the next turn is not theirs.
_PAUSE_SECONDS = 0.25


@dataclass(frozen=True)
class Target:
    """A ratio of rates that the issue asks for.

    Attributes:
        ours: Name of our contender.
        against: Name of the other.
        at_least: The ratio wanted; None where it is only reported.
    """

    ours: str
    against: str
    at_least: float | None = None


@dataclass(frozen=True)
class Comparison:
    """A row of the table.

    Attributes:
        name: Of the module, and on the command line.
        title: What is compared.
        turn: The work of a turn, in words.
        contenders: Ours first.
        targets: The ratios reported.
        items: Things a turn works through, for a rate; None where only ratios make sense.
        unit: What those things are.
        rounds: Turns of each contender.
        warm_ups: Turns before them that do not count.
        check: Compares what both sides computed and says so in a sentence; raises where they
            differ.
        notes: What a reader has to know.
    """

    name: str
    title: str
    turn: str
    contenders: Sequence[Contender]
    targets: Sequence[Target]
    items: float | None = None
    unit: str = "images"
    rounds: int = 7
    warm_ups: int = 2
    check: Callable[[], str] | None = None
    notes: Sequence[str] = ()


def in_turns(
    works: Mapping[str, Callable[[], Seconds]], rounds: int, pause: float = 0.0
) -> dict[str, list[Seconds]]:
    """Call each work once a round, in an order that is turned round after every round.

    Args:
        works: Name to a call that says what it took.
        rounds: Number of rounds.
        pause: Seconds between two calls.

    Returns:
        What each took, by name, one for each round.
    """
    seconds: dict[str, list[Seconds]] = {name: [] for name in works}
    names = list(works)
    for _ in range(rounds):
        for name in names:
            time.sleep(pause)
            seconds[name].append(works[name]())
        names.reverse()
    return seconds


def ratios(ours: Sequence[float], other: Sequence[float]) -> dict[str, float]:
    """Ratio of rates in each round, ours over the other's: median and spread.

    Args:
        ours: Seconds of our turns.
        other: Seconds of the other's turns, of the same rounds.

    Returns:
        `median`, `lowest` and `highest` ratio.
    """
    each = [theirs / mine for mine, theirs in zip(ours, other, strict=True)]
    return {"median": median(each), "lowest": min(each), "highest": max(each)}


def measure(comparison: Comparison, rounds: int | None = None) -> dict[str, Any]:
    """Run a comparison: check it, time the contenders in turns, work out the ratios.

    Args:
        comparison: The row.
        rounds: Instead of its own number of rounds.

    Returns:
        What `report` writes down, ready for JSON.
    """
    checked = comparison.check() if comparison.check else None
    workers, missing = _start(comparison.contenders)
    try:
        for worker in workers.values():
            for _ in range(comparison.warm_ups):
                worker.turn()
        count = rounds or comparison.rounds
        turns = {name: worker.turn for name, worker in workers.items()}
        seconds = in_turns(turns, count, _PAUSE_SECONDS)
    finally:
        for worker in workers.values():
            worker.close()
    whole = {
        each.name: [Seconds(*(value / each.share for value in turn)) for turn in seconds[each.name]]
        for each in comparison.contenders
        if each.name in seconds
    }
    items = {each.name: each.items or comparison.items for each in comparison.contenders}
    return {
        "name": comparison.name,
        "title": comparison.title,
        "turn": comparison.turn,
        "rounds": count,
        "unit": comparison.unit,
        "checked": checked,
        "notes": list(comparison.notes),
        "contenders": [
            {
                "name": name,
                "seconds": [turn.wall for turn in values],
                "processor_seconds": [turn.processor for turn in values],
                "rate": _rate(items[name], [turn.wall for turn in values]),
            }
            for name, values in whole.items()
        ],
        "missing": missing,
        "targets": [_met(target, whole) for target in comparison.targets],
    }


def _start(contenders: Sequence[Contender]) -> tuple[dict[str, Worker], dict[str, str]]:
    workers: dict[str, Worker] = {}
    missing: dict[str, str] = {}
    try:
        for contender in contenders:
            try:
                workers[contender.name] = Worker(contender)
            except Unavailable as error:
                missing[contender.name] = str(error)
    except BaseException:
        for worker in workers.values():
            worker.close()
        raise
    return workers, missing


def _rate(items: float | None, seconds: Sequence[float]) -> float | None:
    return None if items is None else items / median(seconds)


def _met(target: Target, seconds: Mapping[str, Sequence[Seconds]]) -> dict[str, Any]:
    """A target with what was measured: the ratio by the clock, and that of processor time."""
    measured: dict[str, Any] = {"ratio": None, "processor_ratio": None}
    if target.ours in seconds and target.against in seconds:
        ours, other = seconds[target.ours], seconds[target.against]
        measured["ratio"] = ratios([t.wall for t in ours], [t.wall for t in other])
        measured["processor_ratio"] = ratios(
            [t.processor for t in ours], [t.processor for t in other]
        )
    return asdict(target) | measured
