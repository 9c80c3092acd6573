"""One iteration of SPICE-Self from images: M = 2,000, ten heads, eight repeats."""

from __future__ import annotations

from functools import partial

from benchmarks import self_losses, steps
from benchmarks.data import embeddings, images
from benchmarks.harness import Comparison
from benchmarks.workers import Contender, Work

SAMPLES, SIDE, CLUSTERS, HEADS, REPEATS, BATCH = 2000, 32, 10, 10, 8, 128
_STEPS = REPEATS * (SAMPLES // BATCH)
_TIMED_HEADS = 2
_REFERENCE = "reference's procedure, PyTorch float32"


def ours(precision: str) -> Work:
    """The step that `fit` runs, the encoder as the stage loads it."""
    from spice_keras.runtime import start_tensorflow

    start_tensorflow(precision=precision)
    import keras

    from spice_keras.backbones.factory import build_backbone
    from spice_keras.backbones.folding import fold_batch_normalization
    from spice_keras.heads.spice_self import SpiceSelf

    encoder = fold_batch_normalization(build_backbone("resnet18_cifar", image_size=SIDE))
    model = SpiceSelf(
        CLUSTERS, 512, encoder=encoder, num_heads=HEADS, batch_size=BATCH, num_repeats=REPEATS
    )
    model.compile(keras.optimizers.Adam(0.005, epsilon=1e-8), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    views = {"weak": images(SAMPLES, SIDE, 1), "strong": images(SAMPLES, SIDE, 2)}
    return steps.fit_step(model, {"embedding": embeddings(SAMPLES, 512), **views})


def reference() -> Work:
    """One of its steps for some of its heads: their strong views through the CNN, then the head."""
    import torch

    from benchmarks import torch_self
    from benchmarks.torch_networks import ResNet, normalized

    network = ResNet().eval()
    strong = normalized(images(SAMPLES, SIDE, 2))
    heads = torch_self.make_heads(_TIMED_HEADS, 512, CLUSTERS)
    optimizer = torch_self.adam(heads)
    samples = [torch.randperm(SAMPLES) for _ in heads]
    labels = torch.arange(CLUSTERS).repeat_interleave(SAMPLES // CLUSTERS)

    def features(chosen: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return network(strong[chosen])

    def turn() -> torch.Tensor:
        batches = [torch.randperm(SAMPLES)[:BATCH]]
        return torch_self.train(heads, optimizer, features, samples, labels, batches)

    return turn


def comparison() -> Comparison:
    return Comparison(
        name="self_iteration",
        title="One SPICE-Self iteration from images, M = 2,000",
        turn=(
            f"{SAMPLES} weak and strong views, {HEADS} heads, {REPEATS} repeats, ResNet-18 at "
            f"{SIDE} px: {_STEPS} steps"
        ),
        contenders=[
            *steps.in_each_precision(ours),
            Contender(_REFERENCE, reference, share=_TIMED_HEADS / HEADS / _STEPS),
        ],
        targets=steps.targets_against(_REFERENCE, bfloat16=30.0, float32=None),
        rounds=7,
        warm_ups=1,
        check=partial(self_losses.check, True, 200),
        notes=[
            f"The reference's {_STEPS} steps would take many minutes a round. Timed is one step of "
            f"{_TIMED_HEADS} of the {HEADS} heads, and its time multiplied by "
            f"{_STEPS * HEADS // _TIMED_HEADS}; its pass over the weak views is left out, in its "
            "favour. Ours is timed whole."
        ],
    )
