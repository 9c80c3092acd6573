"""How near each stage's arithmetic comes to the machine's matrix products."""

from __future__ import annotations

from typing import Any

from benchmarks import feature_extraction, fixmatch_step, head_training, moco_step, steps
from benchmarks.harness import Comparison
from benchmarks.workers import Contender, Work, ask

_SIDE = 2048


def product(dtype: str) -> Work:
    """A product of two square matrices in TensorFlow."""
    from spice_keras.runtime import start_tensorflow

    start_tensorflow()
    import tensorflow as tf

    left, right = (
        tf.cast(tf.random.stateless_normal([_SIDE, _SIDE], [0, seed]), dtype) for seed in (1, 2)
    )
    multiply = tf.function(lambda a, b: tf.matmul(a, b)[0, 0], jit_compile=False)

    def turn() -> float:
        return sum(float(multiply(left, right)) for _ in range(8))

    return turn


def convolution_operations(name: str) -> float:
    """Floating-point operations of the convolutions in one forward pass of an image of 32 px."""
    from spice_keras.runtime import start_tensorflow

    start_tensorflow(precision="float32")
    import keras

    from spice_keras.backbones.factory import build_backbone

    return operations(
        (layer.kernel.shape, layer.output.shape)
        for layer in build_backbone(name, image_size=32).layers
        if isinstance(layer, keras.layers.Conv2D)
    )


def operations(layers: Any) -> float:
    """Two for each kernel weight at each place of the map: (kernel shape, output shape) pairs."""
    total = 0.0
    for (height, width, channels, filters), (_, rows, columns, _) in layers:
        total += 2.0 * height * width * channels * filters * rows * columns
    return total


def head_operations() -> float:
    """Of a turn of `head_training`: the products of its steps and of its labelling."""
    weights = head_training.DIM * (head_training.DIM + head_training.CLUSTERS)
    pairs = head_training.BATCH * head_training.REPEATS
    pairs *= head_training.SAMPLES // head_training.BATCH
    # Forward, and backward to the weights; the features need no gradient, the hidden layer does.
    hidden = head_training.DIM * head_training.CLUSTERS
    each = 2.0 * (pairs * (2 * weights + hidden) + head_training.SAMPLES * weights)
    return each * head_training.HEADS


def comparison() -> Comparison:
    resnet, wide = (ask(convolution_operations, name) for name in ("resnet18_cifar", "wrn_28_2"))
    images = fixmatch_step.LABELED + 2 * fixmatch_step.UNLABELED
    chosen = {"precision": steps.RUN}
    stages = [
        # Backward costs two forward passes; MoCo's keys one more.
        ("MoCo step", moco_step.ours, chosen, 4 * moco_step.BATCH * resnet),
        ("FixMatch step", fixmatch_step.ours, chosen, 3 * images * wide),
        (
            "feature extraction",
            feature_extraction.ours,
            chosen,
            feature_extraction.COUNT * resnet,
        ),
        ("head training", head_training.ours, chosen, head_operations()),
    ]
    products = 8 * 2.0 * _SIDE**3
    return Comparison(
        name="arithmetic",
        title="Arithmetic of each stage beside a matrix product",
        turn=(f"eight products of {_SIDE} x {_SIDE} matrices; each stage does its own row's turn"),
        contenders=[
            *(
                Contender(name, build, options, items=count / 1e9)
                for name, build, options, count in stages
            ),
            *(
                Contender(f"matrix product, {each}", product, {"dtype": each}, items=products / 1e9)
                for each in dict.fromkeys((steps.RUN, "float32"))
            ),
        ],
        targets=[],
        unit="GFLOP",
        rounds=7,
        warm_ups=1,
        notes=[
            "Counted are convolutions and, of the heads, matrix products; all stages in "
            f"{steps.RUN}. What a stage lacks to the matrix product is normalisation, activations, "
            "sums, the optimizer, and convolutions that are no large products."
        ],
    )
