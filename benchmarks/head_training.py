"""Ten heads trained on cached features: 50,000 x 512, M = 5,000."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks import self_losses, steps
from benchmarks.data import embeddings
from benchmarks.harness import Comparison, Target
from benchmarks.workers import Contender, Work

ITEMS, DIM, SAMPLES, CLUSTERS, HEADS, REPEATS, BATCH = 50_000, 512, 5000, 10, 10, 2, 128
_KERAS_ADAM = f"{steps.OURS}, Keras's own Adam"
_TORCH = "PyTorch float32, a loop over heads"


def ours(precision: str, keras_adam: bool = False) -> Work:
    """A step of the stage `self` on cached views, with the batch gathered for it.

    `keras_adam` puts Keras's own optimizer in the place of the one a run takes.
    """
    from spice_keras.runtime import start_tensorflow

    start_tensorflow(precision=precision)
    from spice_keras.heads.objectives import HeadOptions, PrototypeOptions

    features = embeddings(ITEMS, DIM)
    labeling = steps.prototype_heads(
        features,
        features.astype(np.float16)[np.newaxis],
        HeadOptions(CLUSTERS, num_heads=HEADS, epochs=1000, learning_rate=0.005),
        PrototypeOptions(SAMPLES, batch_size=BATCH, num_repeats=REPEATS),
    )
    model, batches = labeling.model, iter(labeling.batches(0))
    if keras_adam:
        import keras

        model.compile(optimizer=keras.optimizers.Adam(0.005, epsilon=1e-8), jit_compile=False)
        model.optimizer.build(model.trainable_variables)
    model.make_train_function()
    step = model.train_function
    return lambda: float(step(batches)["loss"])


def torch_side() -> Work:
    """The same in a loop over heads, one Adam for all."""
    import torch

    from benchmarks import torch_self

    features = torch.from_numpy(embeddings(ITEMS, DIM))
    heads = torch_self.make_heads(HEADS, DIM, CLUSTERS)
    optimizer = torch_self.adam(heads)

    def turn() -> torch.Tensor:
        rows = torch.randperm(ITEMS)[:SAMPLES]
        batch = features[rows]
        with torch.no_grad():
            pairs = [torch_self.pseudo_labels(batch, head(batch)) for head in heads]
        labels = pairs[0][1]
        batches = [
            positions
            for _ in range(REPEATS)
            for positions in torch.randperm(len(labels)).split(BATCH)
            if len(positions) == BATCH
        ]
        samples = [chosen for chosen, _ in pairs]
        return torch_self.train(heads, optimizer, batch.__getitem__, samples, labels, batches)

    return turn


def comparison() -> Comparison:
    return Comparison(
        name="head_training",
        title="Head training on cached features, 50,000 x 512, M = 5,000",
        turn=f"labels of {SAMPLES} items, then {REPEATS * (SAMPLES // BATCH)} steps of ten heads",
        contenders=[
            *steps.in_each_precision(ours),
            Contender(_KERAS_ADAM, ours, {"precision": steps.RUN, "keras_adam": True}),
            Contender(_TORCH, torch_side),
        ],
        targets=[
            *steps.targets_against(_TORCH, bfloat16=2.5, float32=None),
            Target(steps.OURS, _KERAS_ADAM),
        ],
        items=REPEATS * (SAMPLES // BATCH),
        unit="steps",
        rounds=9,
        check=partial(self_losses.check, False, 500),
        notes=[f"{REPEATS} repeats in place of eight, to keep a turn short."],
    )
