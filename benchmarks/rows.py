"""The memory of a whole `spice self --embeddings`, from outside: its peak, and the stage it is in.

    python -m benchmarks.rows --count 200000
    python -m benchmarks.rows --count 10000000 --dim 64 --sample 200000

A process of its own does the run. Its resident set is read from /proc several times a second:
private memory (RssAnon), which only the program can give back, and mapped files (RssFile), which
the system takes back if it needs the room. Works on Linux.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from spice_keras.shards.embeddings import write_embeddings
from spice_keras.shards.folder import ShardFolder

_BLOCK = 20_000
_EVERY = 0.2  # seconds
_FIELDS = ("VmRSS", "RssAnon", "RssFile")
# The artifact that a stage leaves, and the stage that comes after it.
_AFTER = {
    "images": "embed",
    "embeddings": "self",
    "heads": "reliable",
    "reliable": "name",
    "names": "eval",
    "evaluation": "export",
}


def _drawn(options: argparse.Namespace) -> tuple[np.ndarray, Iterator[tuple[int, np.ndarray]]]:
    """The centre of each row, int32 [count]; and blocks of rows with the number of their first.

    Centres are drawn from a normal distribution of deviation 1; `noise` is the deviation of a row
    from its centre, in every direction.
    """
    shape = (options.clusters, options.dim)
    centers = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, options.clusters, options.count).astype(np.int32)

    def blocks() -> Iterator[tuple[int, np.ndarray]]:
        for start in range(0, options.count, _BLOCK):
            own = labels[start : start + _BLOCK]
            noise = np.random.default_rng([2, start]).normal(size=(len(own), options.dim))
            yield start, centers[own] + options.noise * noise.astype(np.float32)

    return labels, blocks()


def draw_rows(path: Path, options: argparse.Namespace) -> np.ndarray:
    """Write drawn rows into an .npy file, a block at a time.

    Args:
        path: The file.
        options: `count`, `dim`, `clusters` and `noise`: see `_drawn`.

    Returns:
        The centre of each row, int32 [count].
    """
    labels, blocks = _drawn(options)
    shape = (options.count, options.dim)
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    for start, block in blocks:
        rows[start : start + len(block)] = block
    rows.flush()
    return labels


def draw_shards(path: Path, options: argparse.Namespace) -> np.ndarray:
    """Write the same rows as shards, as `spice embed` does.

    Args:
        path: The folder.
        options: As of `draw_rows`.

    Returns:
        The centre of each row, int32 [count].
    """
    labels, blocks = _drawn(options)
    facts = {"kind": "embeddings", "dim": options.dim}
    folder = ShardFolder(path, facts, math.ceil(options.count / _BLOCK))
    for start, block in blocks:
        ids = [str(row) for row in range(start, start + len(block))]
        write_embeddings(folder, start // _BLOCK, ids, block)
    folder.finish()
    return labels


def watch(process: subprocess.Popen[bytes], run: Path) -> dict[str, dict[str, float]]:
    """Read a process's memory until it ends.

    Args:
        process: It does a run.
        run: The run directory, whose artifacts tell the stage.

    Returns:
        Of each stage, and of the whole, the largest of each field in MiB, and the seconds seen.
    """
    peaks: dict[str, dict[str, float]] = {}
    while process.poll() is None:
        found = _memory(process.pid)
        for name in (_stage(run), "whole"):
            peak = peaks.setdefault(name, dict.fromkeys((*_FIELDS, "seconds"), 0.0))
            for field, value in found.items():
                peak[field] = max(peak[field], value)
            peak["seconds"] += _EVERY
        time.sleep(_EVERY)
    return peaks


def _memory(number: int) -> dict[str, float]:
    try:
        lines = Path(f"/proc/{number}/status").read_text(encoding="ascii").splitlines()
    except OSError:  # it has just ended
        return {}
    pairs = (line.split(":", 1) for line in lines)
    return {name: int(text.split()[0]) / 1024 for name, text in pairs if name in _FIELDS}


def _stage(run: Path) -> str:
    there = {path.name for path in (run / "artifacts").glob("[!.]*")}
    return next((after for name, after in reversed(_AFTER.items()) if name in there), "ingest")


def measure(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Draw the rows, do the run, and say what it took.

    Args:
        options: Those of the command line.
        folder: Where rows and run go.

    Returns:
        `peaks` by stage in MiB, `seconds` by stage, and `acc` against the centres.
    """
    from spice_keras.metrics.clustering import clustering_accuracy

    path, run = folder / f"rows-{options.count}.npy", folder / f"run-{options.count}"
    if options.sample:
        path = path.with_suffix("")
        labels, sample = draw_shards(path, options), ["--sample", str(options.sample)]
    else:
        labels, sample = draw_rows(path, options), []
    program = "from spice_keras.cli import main; main()"
    command = [sys.executable, "-c", program, "self", "--embeddings", str(path), "--run-dir"]
    command += [str(run), "--clusters", str(options.clusters), *sample, "--set"]
    command += [f"export.directory={folder / 'models'}", *options.more]
    began = time.perf_counter()
    with (folder / f"run-{options.count}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        peaks = watch(process, run)
    if process.returncode:
        raise RuntimeError(f"The run failed; {log.name} says why.")
    tables = sorted((run / "artifacts" / "sorted").glob("*.csv")) or [run / "assignments.csv"]
    clusters = np.concatenate([_clusters(table) for table in tables])
    return {
        "count": options.count,
        "peaks": peaks,
        "seconds": json.loads((run / "timings.json").read_text("utf-8")),
        "whole": round(time.perf_counter() - began, 1),
        "acc": clustering_accuracy(labels, clusters),
    }


def _clusters(table: Path) -> np.ndarray:
    with table.open(encoding="utf-8", newline="") as file:
        return np.array([int(row["cluster"]) for row in csv.DictReader(file)])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--clusters", type=int, default=100)
    parser.add_argument("--noise", type=float, default=1.0)
    parser.add_argument("--sample", type=int, help="write shards; train heads on so many rows")
    parser.add_argument("--folder", type=Path, help="where rows and run stay; else they go")
    parser.add_argument("more", nargs="*", help="further arguments of `spice self`, after --")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        place = Path(folder) if options.folder is None else options.folder
        found = measure(options, place)
    for stage, peak in found["peaks"].items():  # type: ignore[attr-defined]
        print(f"{stage:10}" + "".join(f" {name} {value:8,.0f}" for name, value in peak.items()))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
