"""A long life in minutes: whole runs and fits, one after another in one process, and what grows.

    make soak                                  ten minutes
    python -m tools.soak --minutes 30 --kind fits

A round is three fits of `SpiceClusterer`, or a tiny run done again from its images to its report in
the same folder, SPICE-Semi included. After each, the resident memory of the process, its open files
and the size of the run's logs and checkpoints are noted. The exit code is 1 if over the second half
memory grew by more than 2 %, or if files, logs or checkpoints grew at all.
"""

from __future__ import annotations

import gc
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from tools.kill_writers import write_tiny

_MOST_GROWTH = 0.02
_FEWEST = 8  # rounds, of which the second half is judged


@dataclass(frozen=True)
class Sample:
    """What a process holds after a round.

    Attributes:
        memory: Resident bytes.
        files: Open files.
        logs: Bytes of the run's logs.
        checkpoints: Checkpoints in the run.
    """

    memory: int
    files: int
    logs: int = 0
    checkpoints: int = 0


def sample(run: Path | None = None) -> Sample:
    """Look at this process, and at a run directory; Linux only."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    memory, files = pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir("/proc/self/fd"))
    if run is None:
        return Sample(memory, files)
    logs = sum(path.stat().st_size for path in run.glob("*.jsonl"))
    return Sample(memory, files, logs, len(list(run.glob("checkpoints/*/*"))))


def growth(values: Sequence[float]) -> float:
    """Return by which share values rise over their second half, from its first to its last quarter.

    Args:
        values: At least four.

    Example:
        >>> growth([1, 5, 10, 10, 10, 10, 10, 11])
        0.05
    """
    half = np.asarray(values[len(values) // 2 :], float)
    cut = len(half) // 2
    before, after = float(half[:cut].mean()), float(half[cut:].mean())
    return (after - before) / before if before else after


def problems(samples: Sequence[Sample]) -> list[str]:
    """Say what grew that should not.

    Args:
        samples: One a round, at least four.
    """
    found = []
    memory = growth([one.memory for one in samples])
    if memory > _MOST_GROWTH:
        found.append(f"memory grew by {memory:.1%} over the second half")
    half = samples[len(samples) // 2 :]
    for name in ("files", "logs", "checkpoints"):
        values = [getattr(one, name) for one in half]
        # A line of a log holds times, whose digits vary.
        if values[-1] > values[0] + (64 if name == "logs" else 0):
            found.append(f"{name} grew from {values[0]:,} to {values[-1]:,} over the second half")
    return found


def fits(_: Path) -> Callable[[], Sample]:
    """Return a round of fits."""
    from spice_keras import SpiceClusterer

    rows = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)

    def once() -> Sample:
        for seed in range(3):
            SpiceClusterer(5, n_heads=2, epochs=2, random_state=seed).fit(rows).predict(rows[:9])
        return sample()

    return once


def runs(folder: Path) -> Callable[[], Sample]:
    """Return a round that does a tiny run again, in the same folder."""
    from spice_keras.config import load_config
    from spice_keras.pipeline import run_stages

    config, run = load_config(str(write_tiny(folder))), folder / "run"
    begun: list[bool] = []

    def once() -> Sample:
        commands = ["pretrain", "self", "semi", "eval"]
        run_stages(config, run, commands=commands, redo=bool(begun))
        begun.append(True)
        return sample(run)

    return once


_KINDS = {"fits": fits, "runs": runs}


@click.command()
@click.option("--minutes", type=float, default=10.0, help="How long, both kinds together.")
@click.option("--kind", type=click.Choice(list(_KINDS)), multiple=True, help="Default: both.")
def main(minutes: float, kind: tuple[str, ...]) -> None:
    """Do fits and runs for some minutes, and say what grew."""
    from spice_keras.runtime import start_tensorflow

    start_tensorflow(precision="float32")
    kinds, bad = kind or tuple(_KINDS), []
    for name in kinds:
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            once, samples = _KINDS[name](Path(folder)), list[Sample]()
            end = time.monotonic() + 60 * minutes / len(kinds)
            while time.monotonic() < end or len(samples) < _FEWEST:
                samples.append(once())
                one = samples[-1]
                click.echo(
                    f"{name} {len(samples)}: {one.memory / 2**20:,.1f} MiB, {one.files} files, "
                    f"{one.logs:,} bytes of logs, {one.checkpoints} checkpoints"
                )
        found = problems(samples)
        half = growth([one.memory for one in samples])
        click.echo(f"{name}: {len(samples)} rounds, memory {half:+.2%} over the second half.")
        bad += [f"{name}: {text}" for text in found]
    if bad:
        raise click.ClickException("; ".join(bad))


if __name__ == "__main__":
    main()
