"""A run of seconds: 96 drawn images of three shapes, and ways to start it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click.testing
import numpy as np

from spice_keras.cli import main

ROOT = Path(__file__).resolve().parents[2]
COUNT, SIDE, CLUSTERS = 96, 16, 3
# What differs between two equal runs: times, and what they are made of.
_TIMES = "images_per_second"

CONFIG = """
name: tiny
num_clusters: 3
data: {source: arrays, path: shapes.npz, image_size: 16}
backbone: {name: small_resnet, width: 8}
pretrain:
  epochs: 12
  batch_size: 16
  queue_size: 48
  momentum: 0.9
  projection_dim: 16
  learning_rate: 0.06
  checkpoint_every: 2
  quality_every: 2
  views: {policy: upright}
self:
  num_heads: 3
  large_batch: 96
  batch_size: 32
  num_repeats: 2
  epochs: 2
  refine_epochs: 2
  neighbors: {entropy_weight: 1.0}
  checkpoint_every: 1
  weak: {policy: upright, rotate: 3.0}
  strong: {policy: upright}
reliable: {num_neighbors: 10, min_per_cluster: 4}
semi:
  init: pretrained
  steps: 40
  steps_per_epoch: 5
  labeled_batch: 8
  unlabeled_ratio: 2
  weak: {policy: upright, rotate: 3.0}
  strong: {policy: upright, cutout: 0.2}
evaluate: {kmeans_restarts: 2, map_method: pca, prototypes_per_cluster: 3}
"""


def shapes(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Discs, squares and crosses of three colours on black, uint8 [N, S, S, 3], and which."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    labels = rng.permutation(np.arange(COUNT) % CLUSTERS)
    images = np.empty((COUNT, SIDE, SIDE, 3))
    for image, label in zip(images, labels, strict=True):
        (cx, cy), radius = rng.uniform(6, 10, 2), rng.uniform(3.5, 5.5)
        dx, dy = np.abs(x - cx), np.abs(y - cy)
        inside = (np.hypot(dx, dy) < radius, np.maximum(dx, dy) < radius, np.minimum(dx, dy) < 1.5)
        image[:] = 20.0
        image[inside[label]] = ((220, 60, 60), (60, 200, 80), (70, 90, 230))[label]
        image += rng.normal(0.0, 8.0, image.shape)
    return np.clip(images, 0, 255).astype(np.uint8), labels


def write_tiny(folder: Path, **arrays: np.ndarray) -> Path:
    """Write shapes.npz with further arrays, and tiny.yaml."""
    folder.mkdir(parents=True, exist_ok=True)
    images, _ = shapes()
    np.savez(folder / "shapes.npz", images=images, **arrays)  # type: ignore[arg-type]
    (folder / "tiny.yaml").write_text(CONFIG, encoding="utf-8")
    return folder


def invoke(*arguments: str | Path) -> click.testing.Result:
    """Run `spice` in this process."""
    return click.testing.CliRunner().invoke(main, [str(argument) for argument in arguments])


def start(
    *arguments: str | Path, cwd: Path, program: Path = ROOT / "cli.py"
) -> subprocess.Popen[str]:
    """Start `python cli.py` in a process of its own, without this one's quietening.

    It has this one's threads within an operation: another number adds up in another order.
    """
    ours = {
        "TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND", "MPLBACKEND", "TF_ONEDNN_USE_SYSTEM_ALLOCATOR"
    }  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    return subprocess.Popen(
        [sys.executable, str(program), *map(str, arguments)],
        cwd=cwd, env=environment, text=True, encoding="utf-8",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def artifact_files(run: Path, *, without: tuple[str, ...] = ()) -> dict[str, str]:
    """The checksum of every file of every artifact, by path."""
    found = {}
    for manifest in sorted((run / "artifacts").glob("*/manifest.json")):
        facts = json.loads(manifest.read_text(encoding="utf-8"))
        if facts["artifact"] not in without:
            for name, file in facts["files"].items():
                found[f"{facts['artifact']}/{name}"] = file["sha256"]
    return found


def figures(run: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl, times aside."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [{key: row[key] for key in row if key != _TIMES} for row in rows]


def metrics(run: Path) -> dict[str, Any]:
    """The content of metrics.json."""
    found: dict[str, Any] = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return found


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder with its time and content, and every folder."""
    return {
        str(path.relative_to(folder)): (
            (path.stat().st_mtime_ns, path.read_bytes()) if path.is_file() else (0, b"")
        )
        for path in sorted(folder.rglob("*"))
    }
