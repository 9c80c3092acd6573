"""Two runs of one configuration, compared: artifacts, figures, and what they were made with."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spice_keras.run.directory import READS, RunDirectory


@dataclass(frozen=True)
class Reproduction:
    """How a run and its repetition compare.

    Attributes:
        artifacts: Name to whether its files are the same to the byte.
        figures: Name of a figure in metrics.json that differs, to its two values.
        environments: Name of a version or device that differs, to its two values.
    """

    artifacts: Mapping[str, bool]
    figures: Mapping[str, tuple[object, object]]
    environments: Mapping[str, tuple[object, object]]

    @property
    def is_equal(self) -> bool:
        """Whether all figures are the same."""
        return not self.figures

    @property
    def largest_difference(self) -> float | None:
        """The largest difference of a figure that is a number in both; None if there is none."""
        pairs = [
            (one, two)
            for one, two in self.figures.values()
            if isinstance(one, int | float) and isinstance(two, int | float)
        ]
        return max((abs(one - two) for one, two in pairs), default=None)

    def lines(self) -> list[str]:
        """Put it into lines: what is equal, what is not, and what may be the reason."""
        same = [name for name, equal in self.artifacts.items() if equal]
        other = [name for name, equal in self.artifacts.items() if not equal]
        found = []
        if same:
            found.append(f"The same to the byte: {', '.join(same)}.")
        if other:
            found.append(f"Not the same to the byte: {', '.join(other)}.")
        found.append("All figures are the same." if self.is_equal else "Figures that differ:")
        found += [f"  {name}: {one} before, {two} now" for name, (one, two) in self.figures.items()]
        if self.largest_difference is not None:
            found.append(f"The largest difference of a figure: {self.largest_difference:.2g}.")
        if self.environments:
            found.append("Made with something else:")
            found += [
                f"  {name}: {one} before, {two} now"
                for name, (one, two) in self.environments.items()
            ]
        return found


def compare_runs(before: RunDirectory, now: RunDirectory) -> Reproduction:
    """Compare a run with its repetition.

    Args:
        before: The run.
        now: The same once more.

    Returns:
        What is equal and what is not; the SavedModel's place is left out.
    """
    artifacts = {
        name: before.digest(name) == now.digest(name)
        for name in READS
        if name != "export" and before.has(name) and now.has(name)
    }
    return Reproduction(
        artifacts,
        _other(before.path, now.path, "metrics.json"),
        _other(before.path, now.path, "environment.json"),
    )


def _other(before: Path, now: Path, name: str) -> dict[str, tuple[object, object]]:
    """The entries of two JSON files that differ."""
    one, two = (dict(_flat(_read(folder / name))) for folder in (before, now))
    return {
        key: (one.get(key), two.get(key))
        for key in sorted(one.keys() | two.keys())
        if not _same(one.get(key), two.get(key))
    }


def _same(one: object, two: object) -> bool:
    both_nan = (
        isinstance(one, float) and isinstance(two, float) and math.isnan(one) and math.isnan(two)
    )
    return one == two or both_nan


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, object]]:
    """Every entry of nested mappings and lists, by the names on the way to it."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _flat(below, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from _flat(below, f"{name}[{number}]")
    else:
        yield name, value
