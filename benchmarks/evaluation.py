"""How long the evaluation of a usual run and of one in a thousand clusters takes; its report."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.workers import ask

ROUNDS = 5
CLUSTERS, ROWS, FEATURES = 1_000, 20_000, 64
_QUICK = {
    "pretrain.epochs": 1,
    "self.epochs": 1,
    "self.refine_epochs": 0,
    "semi.enabled": False,
    "evaluate.map_method": "pca",
}
_MANY = {
    "num_clusters": CLUSTERS,
    "self.epochs": 1,
    "self.num_heads": 1,
    "self.start": "kmeans",  # a thousand eigenvectors would take longer than what is measured
    "semi.enabled": False,
}


def of_digits() -> dict[str, Any]:
    """Seconds of each `spice eval` of digits, and what the page weighs."""
    from spice_keras import load_config

    return _evaluations(load_config("digits", overrides=_QUICK), ("pretrain", "self"))


def of_many_clusters() -> dict[str, Any]:
    """The same of drawn embeddings in a thousand clusters, all defaults of the report."""
    from spice_keras import load_config

    rng = np.random.default_rng(0)
    centers = rng.normal(size=(CLUSTERS, FEATURES))
    rows = centers[np.arange(ROWS) % CLUSTERS] + rng.normal(scale=0.3, size=(ROWS, FEATURES))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        np.save(path, rows.astype(np.float32))
        config = load_config("embeddings", overrides=_MANY | {"data.path": str(path)})
        return _evaluations(config, ("self",))


def _evaluations(config: Any, commands: tuple[str, ...]) -> dict[str, Any]:
    """Seconds of each evaluation of a run, on the clock and of the processor; bytes of the page."""
    from spice_keras import run_stages

    seconds = []
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "run"
        run_stages(config, folder, commands=commands)
        for _ in range(ROUNDS + 1):
            begin, busy = time.perf_counter(), time.process_time()
            run_stages(config, folder, commands=("eval",))
            seconds.append((time.perf_counter() - begin, time.process_time() - busy))
        return {"seconds": seconds[1:], "bytes": (folder / "report.html").stat().st_size}


def measured() -> dict[str, Any]:
    """The seconds, as figures."""
    cases = {"digits": of_digits, f"{CLUSTERS:,} clusters": of_many_clusters}
    return {
        "title": "Evaluation and report",
        "rounds": ROUNDS,
        "figures": [row for name, case in cases.items() for row in _figures(name, ask(case))],
        "notes": [
            f"`spice eval`, medians of {ROUNDS} after one that does not count. Digits: 1,797 "
            f"images in ten clusters, the map drawn by PCA. {CLUSTERS:,} clusters: {ROWS:,} drawn "
            f"rows of {FEATURES} values, all defaults of the report."
        ],
    }


def _figures(name: str, found: dict[str, Any]) -> list[dict[str, str]]:
    clock, processor = zip(*found["seconds"], strict=True)
    return [
        _figure(f"{name}: figures and report", f"{median(clock):.1f}", "s"),
        _figure(f"{name}: processor time", f"{median(processor):.1f}", "s"),
        _figure(f"{name}: report.html", f"{found['bytes'] / 2**20:.1f}", "MiB"),
    ]


def _figure(label: str, value: str, unit: str) -> dict[str, str]:
    return {"label": label, "value": value, "unit": unit, "target": ""}
