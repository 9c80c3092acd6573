"""The commands that write beside `spice run`, each on a tiny run, for `tools.kill --writers`."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

_PROGRAM = str(Path(__file__).resolve().parents[1] / "cli.py")
_CONFIG = """
name: tiny
num_clusters: 3
data: {{source: folder, path: {images}, image_size: 16}}
backbone: {{name: small_resnet, width: 8}}
pretrain:
  epochs: 2
  batch_size: 16
  queue_size: 48
  projection_dim: 16
  learning_rate: 0.06
  checkpoint_every: 1
  views: {{policy: upright}}
self:
  num_heads: 2
  large_batch: 96
  batch_size: 32
  num_repeats: 2
  epochs: 2
  refine_epochs: 2
  checkpoint_every: 1
  weak: {{policy: upright, rotate: 3.0}}
  strong: {{policy: upright}}
reliable: {{num_neighbors: 10, min_per_cluster: 4}}
semi:
  init: pretrained
  steps: 8
  steps_per_epoch: 2
  labeled_batch: 8
  unlabeled_ratio: 2
  weak: {{policy: upright, rotate: 3.0}}
  strong: {{policy: upright, cutout: 0.2}}
evaluate: {{kmeans_restarts: 1, map_method: pca, prototypes_per_cluster: 2}}
export: {{directory: {models}}}
"""
_COUNT = 60


@dataclass(frozen=True)
class Writer:
    """A command that writes.

    Attributes:
        name: What it is called here.
        command: Its words; `{run}` stands for the copy of `begun`.
        begun: The run it begins with.
    """

    name: str
    command: Sequence[str]
    begun: Path


def write_tiny(folder: Path) -> Path:
    """Write 60 small pictures of three kinds, and the configuration of a run over them.

    Args:
        folder: Where; it is made.

    Returns:
        The configuration.
    """
    images = folder / "images"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16] - 8
    inside = (np.hypot(x, y) < 6, np.maximum(abs(x), abs(y)) < 5, np.minimum(abs(x), abs(y)) < 2)
    for number in range(_COUNT):
        kind = number % 3
        pixels = np.where(
            inside[kind][..., None], ((220, 60, 60), (60, 200, 80), (70, 90, 230))[kind], 20
        )
        noise = rng.normal(0.0, 10.0, pixels.shape)
        picture = np.clip(pixels + noise, 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(images / f"{number:03d}.png")
    config = folder / "tiny.yaml"
    config.write_text(_CONFIG.format(images=images, models=folder / "run-models"))
    return config


def make_inputs(folder: Path, finish: Callable[[Sequence[str]], str | None]) -> None:
    """Make a finished run and variants of it: without an export, damaged, with edits.

    Args:
        folder: Where.
        finish: Runs a command to its end; says what went wrong.

    Raises:
        RuntimeError: If the run does not come to its end.
    """
    run = folder / "run"
    problem = finish([_PROGRAM, "run", str(write_tiny(folder)), "--run-dir", str(run)])
    if problem is not None:
        raise RuntimeError(f"The tiny run ended with {problem}")
    bare = _variant(run, "unexported")
    shutil.rmtree(bare / "artifacts" / "export")
    unjudged = _variant(bare, "unjudged")
    shutil.rmtree(unjudged / "artifacts" / "evaluation")
    for name in ("embeddings/features.npy", "images/images.npy", "evaluation/metrics.json"):
        path = _variant(run, "damaged") / "artifacts" / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    with (folder / "moves.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("image", "cluster"), *((f"{n:03d}.png", f"kind {n % 4}") for n in range(0, 40))]
        )
    _with_other_images(folder, bare)
    edited = _variant(bare, "edited")
    problem = finish([_PROGRAM, "edits", str(edited), "--from", str(folder / "moves.csv")])
    if problem is not None:
        raise RuntimeError(f"The edits ended with {problem}")


def _with_other_images(folder: Path, run: Path) -> None:
    """A copy of a run whose source has lost an image since, and gained two."""
    images, changed = folder / "other-images", _variant(run, "changed")
    shutil.copytree(folder / "images", images)
    (images / "007.png").unlink()
    for number in (0, 1):
        with Image.open(images / f"{number:03d}.png") as picture:
            picture.rotate(90).save(images / f"9{number}.png")
    for path in (changed / "config.yaml", changed / "source.json"):
        path.write_text(path.read_text().replace(f"{folder / 'images'}", f"{images}"))


def _variant(run: Path, name: str) -> Path:
    """A copy of a run beside it, with a place of its own for SavedModels."""
    return (
        copy_run(run, run.with_name(name))
        if not run.with_name(name).exists()
        else run.with_name(name)
    )


def copy_run(begun: Path, run: Path) -> Path:
    """Copy a run; what the copy exports lies beside the copy.

    Args:
        begun: The run.
        run: The copy.

    Returns:
        The copy.
    """
    shutil.copytree(begun, run)
    config = run / "config.yaml"
    if config.is_file():
        config.write_text(config.read_text().replace(f"{begun}-models", f"{run}-models"))
    return run


def writers(inputs: Path) -> list[Writer]:
    """Return the commands, over what `make_inputs` has made.

    Args:
        inputs: Its folder.

    Returns:
        Each once.
    """
    images, finished = str(inputs / "images"), inputs / "run"
    formats = ["export", "--run-dir", "{run}", "--format"]
    commands: list[tuple[str, list[str], Path]] = [
        ("export", ["export", "--run-dir", "{run}"], inputs / "unexported"),
        ("export keras", [*formats, "keras"], finished),
        ("export onnx", [*formats, "onnx"], finished),
        ("export litert int8", [*formats, "litert", "--precision", "int8"], finished),
        ("export openvino", [*formats, "openvino"], finished),
        ("eval", ["eval", "--run-dir", "{run}"], inputs / "unjudged"),
        ("name", ["name", "{run}", "--words", "none"], finished),
        ("repair", ["repair", "{run}"], inputs / "damaged"),
        ("embed", ["embed", images, "{run}-out", "--run-dir", "{run}", "--rows", "7"], finished),
        ("pack", ["pack", images, "{run}-out", "--rows", "7"], finished),
        ("pack tfrecord", ["pack", images, "{run}-out", "--rows", "7", "--format", "tfrecord"],
         finished),
        ("predict", ["predict", "{run}", images, "--output", "{run}-table.csv"], finished),
        ("predict shards",
         ["predict", "{run}", images, "{run}-out", "--rows", "7", "--engine", "local"], finished),
        ("groups --cut", ["groups", "{run}", "--cut", "2"], finished),
        ("update", ["run", "--run-dir", "{run}", "--update"], inputs / "changed"),
        ("edits in", ["edits", "{run}", "--from", str(inputs / "moves.csv")], finished),
        ("edits out", ["edits", "{run}", "--to", "{run}-table.csv"], finished),
        ("apply", ["apply", "{run}", "--output", "{run}-reviewed"], inputs / "edited"),
        ("organize", ["organize", "{run}", "{run}-sorted", "--as", "copy"], finished),
    ]  # fmt: skip
    return [Writer(name, [_PROGRAM, *words], begun) for name, words, begun in commands]
