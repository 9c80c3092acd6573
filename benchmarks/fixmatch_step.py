"""A step of FixMatch on WRN-28-2: labelled, weak and strong images in one forward pass."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks import steps
from benchmarks.data import images
from benchmarks.harness import Comparison, Target
from benchmarks.workers import Work

LABELED, UNLABELED, SIDE, CLUSTERS = 16, 112, 32, 10


def _labels() -> np.ndarray:
    return np.arange(LABELED) % CLUSTERS


def semi(precision: str = "float32") -> Any:
    from spice_keras.runtime import start_tensorflow

    start_tensorflow(precision=precision)

    from spice_keras.algorithm.schedules import FixMatchCosine
    from spice_keras.backbones.factory import build_backbone
    from spice_keras.models.spice_semi import SpiceSemi
    from spice_keras.training.loop import compile_for_device
    from spice_keras.training.optimizers import FusedSGD

    model = SpiceSemi(build_backbone("wrn_28_2", image_size=SIDE), CLUSTERS)
    schedule = FixMatchCosine(0.03, 2**20)
    compile_for_device(model, FusedSGD(schedule, momentum=0.9, nesterov=True))
    model.optimizer.build(model.trainable_variables)
    return model


def ours(precision: str) -> Work:
    """The step that `fit` runs."""
    batch: dict[str, np.ndarray] = {
        "labeled": images(LABELED, SIDE, 1),
        "label": _labels().astype(np.int32),
        "weak": images(UNLABELED, SIDE, 2),
        "strong": images(UNLABELED, SIDE, 3),
    }
    return steps.fit_step(semi(precision), batch)


def torch_side(best: bool) -> Work:
    """TorchSSL's FixMatch, which the reference runs."""
    import copy

    import torch
    from torch.nn import functional

    from benchmarks.torch_networks import WideResNet, normalized, use_card

    device = use_card()
    memory_format = torch.channels_last if best else torch.contiguous_format
    model = WideResNet(CLUSTERS).to(memory_format=memory_format).train()
    average = copy.deepcopy(model)
    kernels = [p for name, p in model.named_parameters() if not ("bn" in name or "bias" in name)]
    others = [p for name, p in model.named_parameters() if "bn" in name or "bias" in name]
    optimizer = torch.optim.SGD(
        [{"params": kernels}, {"params": others, "weight_decay": 0.0}],
        lr=0.03, momentum=0.9, weight_decay=5e-4, nesterov=True,
    )  # fmt: skip
    labels = torch.from_numpy(_labels()).to(device)
    counts = (LABELED, UNLABELED, UNLABELED)
    views = [
        normalized(images(count, SIDE, seed)).to(memory_format=memory_format)
        for seed, count in enumerate(counts, start=1)
    ]

    def step() -> float:
        with torch.autocast(device, torch.bfloat16, enabled=best and steps.RUN == "bfloat16"):
            logits = model(torch.cat(views))
        labeled, weak, strong = logits.float().split(counts)
        supervised = functional.cross_entropy(labeled, labels)
        probability = torch.softmax(weak.detach(), dim=-1)
        confidence, target = probability.max(dim=-1)
        mask = confidence.ge(0.95).float()
        each = functional.cross_entropy(strong, target, reduction="none")
        loss = supervised + (each * mask).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for kept, value in zip(average.parameters(), model.parameters(), strict=True):
                kept.mul_(0.999).add_(value, alpha=0.001)
            for kept, value in zip(average.buffers(), model.buffers(), strict=True):
                kept.copy_(value)
        return loss.item()

    return step


def torch_network() -> Any:
    from benchmarks.torch_networks import WideResNet

    return WideResNet(CLUSTERS)


def comparison() -> Comparison:
    return Comparison(
        name="fixmatch_step",
        title="FixMatch step, WRN-28-2, 32 px",
        turn=f"one step on {LABELED} labelled, {UNLABELED} weak and {UNLABELED} strong images",
        contenders=steps.step_contenders(ours, torch_side),
        targets=[
            *steps.targets_against(steps.TORCH, bfloat16=2.5, float32=None),
            Target(steps.OURS, steps.TORCH_BEST),
        ],
        items=LABELED + 2 * UNLABELED,
        rounds=7,
        check=partial(steps.check_same_network, semi, torch_network),
        notes=[steps.VIEWS_GIVEN],
    )
