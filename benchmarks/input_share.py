"""How long a MoCo step of the small network waits for its views."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

from benchmarks.data import images
from benchmarks.workers import ask

COUNT, BATCH, SIDE, WARM_UP, STEPS = 4096, 128, 32, 8, 60
_LIMIT = 5.0


def waiting() -> dict[str, float]:
    """Seconds of steps and of the wait before each, with the pipeline of the stage."""
    from spice_keras.runtime import start_tensorflow

    start_tensorflow()
    import tensorflow as tf

    from spice_keras.augment.policies import moco
    from spice_keras.backbones.factory import build_backbone
    from spice_keras.data.batches import training_batches
    from spice_keras.models.moco import MoCo
    from spice_keras.training.loop import compile_for_device
    from spice_keras.training.optimizers import FusedSGD

    model = MoCo(build_backbone("small_resnet", image_size=SIDE))
    compile_for_device(model, FusedSGD(0.015, momentum=0.9))
    model.optimizer.build(model.trainable_variables)
    step = tf.function(model.train_step, jit_compile=False)
    views = {"query": moco(), "key": moco()}
    batches = iter(training_batches(images(COUNT, SIDE), views=views, batch_size=BATCH, seed=0))
    waits, steps = [], []
    for _ in range(WARM_UP + STEPS):
        begin = time.perf_counter()
        batch = next(batches)
        ready = time.perf_counter()
        float(step(batch)["loss"])
        waits.append(ready - begin)
        steps.append(time.perf_counter() - begin)
    waits, steps = waits[WARM_UP:], steps[WARM_UP:]
    shares = [100.0 * wait / whole for wait, whole in zip(waits, steps, strict=True)]
    return {
        "share": 100.0 * sum(waits) / sum(steps),
        "median": median(shares),
        "highest": max(shares),
        "step": median(steps),
    }


def measured() -> dict[str, Any]:
    """The share, as a figure."""
    found = ask(waiting)
    met = "met" if found["share"] < _LIMIT else "missed"
    return {
        "title": "Share of a step spent waiting for data, small network, 32 px",
        "rounds": STEPS,
        "figures": [
            {
                "label": "waiting, of the time of all steps",
                "value": f"{found['share']:.2f}",
                "unit": "%",
                "target": f"under {_LIMIT:.0f} %: {met}",
            },
            {"label": "median step", "value": f"{found['median']:.2f}", "unit": "%", "target": ""},
            {"label": "worst step", "value": f"{found['highest']:.2f}", "unit": "%", "target": ""},
            {
                "label": "time of a step",
                "value": f"{1000 * found['step']:.0f}",
                "unit": "ms",
                "target": "",
            },
        ],
        "notes": [
            f"MoCo on `small_resnet`, batch {BATCH}, {STEPS} steps after {WARM_UP}; the time "
            "between asking for a batch and having it, over the time of the whole step."
        ],
    }
