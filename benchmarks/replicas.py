"""Steps of each model on several devices and processes, beside the same steps on one device.

``python -m benchmarks.replicas`` trains MoCo, SPICE-Self and SPICE-Semi for 50 steps on one device,
on two devices of one process, and by two and three workers that exchange over the loopback
interface. It prints the largest differences from one device, the steps a second, and the bytes
that all workers together send in a step, measured and by the formula of docs/scale.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spice_keras.run.local_workers import run_local_workers

CLUSTERS = 3
MODELS = ("moco", "moco groups", "self", "semi")
ONE, MIRRORED = "one", "mirrored"


@dataclass(frozen=True)
class Size:
    """What is trained: `small_resnet` on drawn images.

    Attributes:
        steps: Steps of each model.
        side: Side of the images, in pixels.
        width: Of the network.
        batch: Images of a batch; a multiple of every number of replicas.
        groups: Of batch normalisation, for `moco groups`: likewise.
        slow_seconds: What the last worker sleeps in each step.
    """

    steps: int = 50
    side: int = 32
    width: int = 16
    batch: int = 48
    groups: int = 6
    slow_seconds: float = 0.0


def train(model_name: str, size: Size, strategy: Any) -> dict[str, Any]:
    """Train one model and return figures by step, arrays at the end, and costs.

    Args:
        model_name: One of `MODELS`.
        size: What is trained.
        strategy: Of TensorFlow; None for one device.

    Returns:
        `rows` [steps, figures], the arrays to compare, `seconds` of the steps after the first
        three, `bytes` of loopback traffic a step, and `parameters`.
    """
    from spice_keras.training.loop import FitLength, fit_on_replicas

    model, batches = _MAKERS[model_name](size, strategy)
    watch = _watch(size, strategy)
    fit_on_replicas(model, batches, FitLength(size.steps, 1, 1, 1), 0, [watch])
    return {
        "rows": np.array([list(row.values()) for row in watch.rows]),
        "seconds": watch.seconds(),
        "bytes": watch.bytes_per_step(),
        "parameters": sum(int(np.prod(v.shape)) for v in model.trainable_variables),
        **_arrays(model, size),
    }


def _arrays(model: Any, size: Size) -> dict[str, np.ndarray]:
    """Weights that are trained or averaged, the queue, and what the model says of images."""
    from spice_keras.heads.spice_self import SpiceSelf
    from spice_keras.models.moco import MoCo

    found = {"weights": np.concatenate([np.ravel(weight) for weight in model.get_weights()])}
    if isinstance(model, MoCo):
        return found | {"queue": model.queue.numpy()}
    if isinstance(model, SpiceSelf):
        features = np.random.default_rng(9).normal(size=(200, model.feature_dim))
        logits = model.logits_by_head(features.astype(np.float32)).numpy()
        return found | {"labels": logits.argmax(axis=2)}
    images = drawn_images(64, size.side, 99)
    return found | {"labels": model(images).numpy().argmax(axis=1)}


def drawn_images(count: int, side: int, seed: int) -> np.ndarray:
    """Images uint8 [count, side, side, 3]: each a colour of its own, with noise."""
    rng = np.random.default_rng(seed)
    color = rng.uniform(0.0, 255.0, (count, 1, 1, 3))
    noise = rng.normal(scale=30.0, size=(count, side, side, 3))
    return np.clip(color + noise, 0.0, 255.0).astype(np.uint8)


def _replicas(strategy: Any) -> int:
    return 1 if strategy is None else int(strategy.num_replicas_in_sync)


def _scope(strategy: Any) -> Any:
    from contextlib import nullcontext

    return nullcontext() if strategy is None else strategy.scope()


def _encoder(size: Size, *, groups: int = 1, shared: bool = False) -> Any:
    from spice_keras import build_backbone
    from spice_keras.backbones.normalization import synchronize

    encoder = build_backbone(
        "small_resnet", image_size=size.side, width=size.width, bn_groups=groups
    )
    if shared:
        synchronize(encoder)
    return encoder


def _moco(size: Size, strategy: Any, *, groups: int = 1) -> tuple[Any, Iterator[Any]]:
    from spice_keras import MoCo
    from spice_keras.training.optimizers import FusedSGD

    with _scope(strategy):
        own = max(1, groups // _replicas(strategy))
        encoder = _encoder(size, groups=own, shared=groups == 1 < _replicas(strategy))
        queue = 4 * size.batch
        model = MoCo(encoder, queue_size=queue, momentum=0.99, shuffle_keys=groups > 1)
        _compiled(model, FusedSGD(0.03, momentum=0.9))
    return model, _batches(size, "query", "key")


def _moco_groups(size: Size, strategy: Any) -> tuple[Any, Iterator[Any]]:
    return _moco(size, strategy, groups=size.groups)


def _self(size: Size, strategy: Any) -> tuple[Any, Iterator[Any]]:
    from spice_keras import SpiceSelf
    from spice_keras.heads.replicated_encoder import ReplicatedEncoder
    from spice_keras.training.optimizers import FusedAdam

    model = SpiceSelf(CLUSTERS, 4 * size.width, num_heads=2, batch_size=16)
    _compiled(model, FusedAdam(0.005, epsilon=1e-8))
    with _scope(strategy):
        encoder = _encoder(size)
        encoder.trainable = False
        encode = ReplicatedEncoder(encoder, 256)

    def batches() -> Iterator[Any]:
        for batch in _batches(size, "weak", "strong"):
            features = encode(batch)
            weak = features["weak"].numpy()
            unit = weak / np.linalg.norm(weak, axis=1, keepdims=True)
            yield features | {"embedding": unit}

    return model, batches()


def _semi(size: Size, strategy: Any) -> tuple[Any, Iterator[Any]]:
    from spice_keras import SpiceSemi
    from spice_keras.training.optimizers import FusedSGD

    with _scope(strategy):
        encoder = _encoder(size, shared=_replicas(strategy) > 1)
        model = SpiceSemi(encoder, CLUSTERS, threshold=0.4)
        _compiled(model, FusedSGD(0.03, momentum=0.9, nesterov=True))
    labels = (np.arange(size.batch) % CLUSTERS).astype(np.int32)
    images = _batches(size, "labeled", "weak", "strong")
    return model, (batch | {"label": labels} for batch in images)


_MAKERS: dict[str, Callable[[Size, Any], tuple[Any, Iterator[Any]]]] = {
    "moco": _moco,
    "moco groups": _moco_groups,
    "self": _self,
    "semi": _semi,
}


def _compiled(model: Any, optimizer: Any) -> None:
    model.compile(optimizer=optimizer, jit_compile=False)
    model.optimizer.build(model.trainable_variables)


def _batches(size: Size, *views: str) -> Iterator[dict[str, Any]]:
    for step in range(size.steps):
        yield {
            view: drawn_images(size.batch, size.side, 10 * step + number)
            for number, view in enumerate(views)
        }


def _watch(size: Size, strategy: Any) -> Any:
    import keras

    last = strategy is not None and getattr(strategy, "cluster_resolver", None) is not None
    last = last and strategy.cluster_resolver.task_id == _replicas(strategy) - 1

    class Watch(keras.callbacks.Callback):
        """Keeps the figures of each step, and its time and traffic after the first three."""

        def __init__(self) -> None:
            super().__init__()
            self.rows: list[dict[str, float]] = []
            self._from: tuple[float, int] | None = None
            self._to = (0.0, 0)

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if last and size.slow_seconds:
                time.sleep(size.slow_seconds)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.rows.append(dict(sorted(logs.items())))
            self._to = time.monotonic(), loopback_bytes()
            if epoch == 2:
                self._from = self._to

        def seconds(self) -> float:
            """Of a step."""
            if self._from is None or len(self.rows) < 4:
                return float("nan")
            return (self._to[0] - self._from[0]) / (len(self.rows) - 3)

        def bytes_per_step(self) -> float:
            """That went over the loopback interface, of whatever process."""
            if self._from is None or len(self.rows) < 4:
                return float("nan")
            return (self._to[1] - self._from[1]) / (len(self.rows) - 3)

    return Watch()


def loopback_bytes() -> int:
    """Bytes received by the loopback interface so far; 0 if the system does not say."""
    try:
        lines = Path("/proc/net/dev").read_text("utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[0] == "lo:"), 0)


def _work(way: str, out: Path, size: Size, models: list[str]) -> None:
    """Train in this process, one of several if TF_CONFIG says so, and let the chief write."""
    from spice_keras.runtime import start_tensorflow

    strategy: Any = None
    if way == MIRRORED:
        strategy = _two_devices()
    elif way != ONE:
        import tensorflow as tf

        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    start_tensorflow(precision="float32")
    chief = way in (ONE, MIRRORED) or strategy.cluster_resolver.task_id == 0
    for name in models:
        found = train(name, size, strategy)
        if chief:
            np.savez(out / f"{way}.{name}.npz", **found)


def _two_devices() -> Any:
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def measure(way: str, out: Path, size: Size, models: tuple[str, ...] = MODELS) -> None:
    """Train in processes of their own.

    Args:
        way: `one`, `mirrored` (two devices of one process), or a number of workers.
        out: Folder for WAY.MODEL.npz, what `train` returns.
        size: What is trained.
        models: Which models.

    Raises:
        RuntimeError: If a process failed.
    """
    command = [sys.executable, "-m", "benchmarks.replicas", "--work", way, "--out", str(out)]
    command += ["--size", json.dumps(asdict(size)), "--models", ",".join(models)]
    if way in (ONE, MIRRORED):
        import subprocess

        code = subprocess.run(command, check=False).returncode
    else:
        code = run_local_workers(command, int(way), out / f"logs-{way}")
    if code:
        raise RuntimeError(f"{way}: a process ended with code {code}; see {out}")


def differences(out: Path, way: str, model: str) -> dict[str, float]:
    """Return the largest difference from one device: of the figures, and of each kind of array."""
    one, other = (np.load(out / f"{name}.{model}.npz") for name in (ONE, way))
    found = {}
    for name in one.files:
        if name in ("rows", "weights", "queue"):
            found[name] = float(np.abs(one[name] - other[name]).max())
        elif name == "labels":
            found[name] = float((one[name] != other[name]).mean())
    return found


def _print_table(out: Path, ways: list[str], models: tuple[str, ...]) -> None:
    columns = ("model", "on", "figures", "weights", "queue", "labels", "steps/s", "bytes/step")
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for model in models:
        for way in ways:
            costs = np.load(out / f"{way}.{model}.npz")
            found = differences(out, way, model)
            cells = [model, f"{way} workers" if way.isdecimal() else way]
            cells += [
                "" if name not in found else f"{found[name]:.1e}"
                for name in ("rows", "weights", "queue", "labels")
            ]
            sent = f"{float(costs['bytes']):,.0f}" if way.isdecimal() else ""
            lines.append("| " + " | ".join([*cells, f"{1 / costs['seconds']:.2f}", sent]) + " |")
        lines.append(f"{model}: {int(costs['parameters']):,} trained parameters")
    sys.stdout.write("\n".join(lines) + "\n")


def main() -> None:
    """Measure all ways, or be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--ways", default="one,mirrored,2,3")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--slow", type=float, default=0.0, help="seconds the last worker sleeps")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="folder for results; those there are kept")
    parser.add_argument("--size", help=argparse.SUPPRESS)
    given = parser.parse_args()
    models = tuple(given.models.split(","))
    if given.work:
        _work(given.work, given.out, Size(**json.loads(given.size)), list(models))
        return
    size, ways = Size(steps=given.steps, slow_seconds=given.slow), given.ways.split(",")
    with tempfile.TemporaryDirectory() as folder:
        out = given.out or Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        for way in ways:
            missing = [name for name in models if not (out / f"{way}.{name}.npz").exists()]
            if missing:
                measure(way, out, size, tuple(missing))
        _print_table(out, ways, models)


if __name__ == "__main__":
    main()
