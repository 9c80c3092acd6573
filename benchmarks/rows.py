"""The memory of a whole `spice self --embeddings`, from outside: its peak, and the stage it is in.

    python -m benchmarks.rows --count 200000

A process of its own does the run. Its resident set is read from /proc several times a second:
private memory (RssAnon), which only the program can give back, and mapped files (RssFile), which
the system takes back if it needs the room. Works on Linux.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

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


def draw_rows(path: Path, count: int, dim: int, clusters: int, noise: float) -> np.ndarray:
    """Write rows drawn about centres into an .npy file, a block at a time.

    Args:
        path: The file.
        count: Rows.
        dim: Values of a row.
        clusters: Centres, drawn from a normal distribution of deviation 1.
        noise: Deviation of a row from its centre, in every direction.

    Returns:
        The centre of each row, int32 [count].
    """
    centers = np.random.default_rng(0).normal(size=(clusters, dim)).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, clusters, count).astype(np.int32)
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, dim))
    for start in range(0, count, _BLOCK):
        own = labels[start : start + _BLOCK]
        drawn = np.random.default_rng([2, start]).normal(size=(len(own), dim))
        rows[start : start + _BLOCK] = centers[own] + noise * drawn.astype(np.float32)
    rows.flush()
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
    labels = draw_rows(path, options.count, options.dim, options.clusters, options.noise)
    program = "from spice_keras.cli import main; main()"
    command = [sys.executable, "-c", program, "self", "--embeddings", str(path), "--run-dir"]
    command += [str(run), "--clusters", str(options.clusters), "--set"]
    command += [f"export.directory={folder / 'models'}", *options.more]
    began = time.perf_counter()
    with (folder / f"run-{options.count}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        peaks = watch(process, run)
    if process.returncode:
        raise RuntimeError(f"The run failed; {log.name} says why.")
    with (run / "assignments.csv").open(encoding="utf-8", newline="") as file:
        clusters = np.array([int(row["cluster"]) for row in csv.DictReader(file)])
    return {
        "count": options.count,
        "peaks": peaks,
        "seconds": json.loads((run / "timings.json").read_text("utf-8")),
        "whole": round(time.perf_counter() - began, 1),
        "acc": clustering_accuracy(labels, clusters),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--clusters", type=int, default=100)
    parser.add_argument("--noise", type=float, default=1.0)
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
