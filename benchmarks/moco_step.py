"""A step of MoCo v2: query forward and backward, key forward, momentum update, queue."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks import steps
from benchmarks.data import images
from benchmarks.harness import Comparison, Target
from benchmarks.workers import Contender, Work

BATCH, SIDE, QUEUE, DIM = 64, 32, 4096, 128
_PLAIN = f"{steps.OURS}, TensorFlow's kernel gradients"


def moco(precision: str = "float32") -> Any:
    from spice_keras.runtime import start_tensorflow

    start_tensorflow(precision=precision)

    from spice_keras.algorithm.schedules import MoCoCosine
    from spice_keras.backbones.factory import build_backbone
    from spice_keras.models.moco import MoCo
    from spice_keras.training.loop import compile_for_device
    from spice_keras.training.optimizers import FusedSGD

    model = MoCo(
        build_backbone("resnet18_cifar", image_size=SIDE), projection_dim=DIM, queue_size=QUEUE
    )
    compile_for_device(model, FusedSGD(MoCoCosine(0.015, 1000, 780), momentum=0.9))
    model.optimizer.build(model.trainable_variables)
    return model


def ours(precision: str, products: bool = True) -> Work:
    """The step that `fit` runs; without `products`, on TensorFlow's gradients of every kernel."""
    from spice_keras.backbones import convolution

    if not products:
        convolution.by_products = lambda *_: False
    views = {"query": images(BATCH, SIDE, 1), "key": images(BATCH, SIDE, 2)}
    return steps.fit_step(moco(precision), views)


def _torch_networks() -> tuple[Any, Any]:
    import copy

    from torch import nn

    from benchmarks.torch_networks import ResNet

    encoder = ResNet()
    head = nn.Sequential(
        nn.Linear(encoder.dim, encoder.dim), nn.ReLU(), nn.Linear(encoder.dim, DIM)
    )
    query = nn.Sequential(encoder, head)
    key = copy.deepcopy(query)
    for parameter in key.parameters():
        parameter.requires_grad = False
    return query, key


def torch_side(best: bool) -> Work:
    """MoCo's published training loop; `best`: autocast to bfloat16, channels last, fused update."""
    import torch
    from torch.nn import functional

    from benchmarks.torch_networks import normalized, use_card

    device = use_card()
    memory_format = torch.channels_last if best else torch.contiguous_format
    query, key = (network.to(memory_format=memory_format).train() for network in _torch_networks())
    optimizer = torch.optim.SGD(query.parameters(), lr=0.015, momentum=0.9, weight_decay=1e-4)
    queue = functional.normalize(torch.randn(DIM, QUEUE), dim=0)
    place = 0
    labels = torch.zeros(BATCH, dtype=torch.long)
    views = [
        normalized(images(BATCH, SIDE, seed)).to(memory_format=memory_format) for seed in (1, 2)
    ]

    def step() -> float:
        nonlocal place
        with torch.no_grad():
            pairs = (list(key.parameters()), list(query.parameters()))
            if best:
                torch._foreach_lerp_(*pairs, 1 - 0.999)
            else:
                for average, value in zip(*pairs, strict=True):
                    average.data = average.data * 0.999 + value.data * (1 - 0.999)
        with torch.autocast(device, torch.bfloat16, enabled=best and steps.RUN == "bfloat16"):
            q = functional.normalize(query(views[0]).float(), dim=1)
            with torch.no_grad():
                k = functional.normalize(key(views[1]).float(), dim=1)
            positive = torch.einsum("nc,nc->n", q, k).unsqueeze(-1)
            negative = torch.einsum("nc,ck->nk", q, queue.clone().detach())
        loss = functional.cross_entropy(torch.cat([positive, negative], 1).float() / 0.2, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            queue[:, place : place + BATCH] = k.T
        place = (place + BATCH) % QUEUE
        return loss.item()

    return step


def torch_query() -> Any:
    return _torch_networks()[0]


def comparison() -> Comparison:
    return Comparison(
        name="moco_step",
        title="MoCo step, ResNet-18, 32 px, batch 64",
        turn=f"one step on two views of {BATCH} images, queue of {QUEUE}",
        contenders=[
            *steps.step_contenders(ours, torch_side),
            Contender(_PLAIN, ours, {"precision": steps.RUN, "products": False}),
        ],
        targets=[
            *steps.targets_against(steps.TORCH, bfloat16=3.0, float32=1.2),
            Target(steps.OURS, steps.TORCH_BEST, 1.05),
            Target(steps.OURS, _PLAIN),
        ],
        items=BATCH,
        rounds=9,
        check=partial(steps.check_same_network, moco, torch_query),
        notes=[steps.VIEWS_GIVEN],
    )
