"""How long the evaluation of a usual run takes: figures, and the report."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.workers import ask

ROUNDS = 5
_QUICK = {
    "pretrain.epochs": 1,
    "self.epochs": 1,
    "self.refine_epochs": 0,
    "semi.enabled": False,
    "evaluate.map_method": "pca",
}


def evaluations() -> dict[str, Any]:
    """Seconds of each `spice eval` of digits, and what the page weighs."""
    from spice_keras import load_config, run_stages

    config = load_config("digits", overrides=_QUICK)
    seconds = []
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "run"
        run_stages(config, folder, commands=("pretrain", "self"))
        for _ in range(ROUNDS + 1):
            begin, busy = time.perf_counter(), time.process_time()
            run_stages(config, folder, commands=("eval",))
            seconds.append((time.perf_counter() - begin, time.process_time() - busy))
        return {"seconds": seconds[1:], "bytes": (folder / "report.html").stat().st_size}


def measured() -> dict[str, Any]:
    """The seconds, as figures."""
    found = ask(evaluations)
    clock, processor = zip(*found["seconds"], strict=True)
    return {
        "title": "Evaluation and report of 1,797 images in ten clusters",
        "rounds": ROUNDS,
        "figures": [
            _figure("evaluation with figures and report", f"{median(clock):.1f}", "s"),
            _figure("processor time", f"{median(processor):.1f}", "s"),
            _figure("report.html", f"{found['bytes'] / 2**20:.1f}", "MiB"),
        ],
        "notes": [
            f"`spice eval` on `digits`, medians of {ROUNDS} after one that does not count; the map "
            "is drawn by PCA."
        ],
    }


def _figure(label: str, value: str, unit: str) -> dict[str, str]:
    return {"label": label, "value": value, "unit": unit, "target": ""}
