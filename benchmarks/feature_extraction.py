"""Features of a frozen ResNet-18."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import steps
from benchmarks.data import images
from benchmarks.harness import Comparison, Target
from benchmarks.workers import Contender, Work, ask

BATCH, COUNT, SIDE = 128, 256, 32
_FOLDED, _PLAIN = f"{steps.OURS}, folded", f"{steps.OURS}, not folded"
_TORCH_FOLDED = f"{steps.TORCH_BEST}, folded and frozen"


def _encoder(precision: str) -> Any:
    from spice_keras.runtime import start_tensorflow

    start_tensorflow(precision=precision)
    from spice_keras.backbones.factory import build_backbone

    encoder = build_backbone("resnet18_cifar", image_size=SIDE)
    draws = np.random.default_rng(0)
    for layer in encoder.layers:  # statistics as after a training, so that folding has work to do
        if layer.name.endswith("_bn"):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights(
                [
                    draws.uniform(0.5, 1.5, gamma.shape),
                    draws.normal(0.0, 0.1, beta.shape),
                    draws.normal(0.0, 0.1, mean.shape),
                    draws.uniform(0.5, 1.5, variance.shape),
                ]
            )
    return encoder


def _folded(encoder: Any) -> Any:
    from spice_keras.backbones.folding import fold_batch_normalization

    return fold_batch_normalization(encoder)


def ours(precision: str, folded: bool = True) -> Work:
    """What the stage `embed` does with each batch of a data set."""
    encoder = _encoder(precision)
    encoder = _folded(encoder) if folded else encoder
    pixels = images(COUNT, SIDE)
    parts = [pixels[start : start + BATCH] for start in range(0, COUNT, BATCH)]
    return lambda: np.concatenate([encoder.predict_on_batch(part) for part in parts])


def torch_side(best: bool, folded: bool = False) -> Work:
    """Evaluation mode without gradients; folded: batch normalisation merged, graph frozen."""
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    from benchmarks.torch_networks import BasicBlock, ResNet, normalized, use_card

    device = use_card()
    memory_format = torch.channels_last if best else torch.contiguous_format
    network: Any = ResNet().eval()
    parts = [
        part.contiguous(memory_format=memory_format)
        for part in normalized(images(COUNT, SIDE)).split(BATCH)
    ]
    if folded:
        for module in [m for m in network.modules() if isinstance(m, BasicBlock | ResNet)]:
            for number in (1, 2) if isinstance(module, BasicBlock) else (1,):
                conv, norm = getattr(module, f"conv{number}"), getattr(module, f"bn{number}")
                setattr(module, f"conv{number}", fuse_conv_bn_eval(conv, norm))
                setattr(module, f"bn{number}", torch.nn.Identity())
            if isinstance(getattr(module, "shortcut", None), torch.nn.Sequential):
                module.shortcut = fuse_conv_bn_eval(*module.shortcut)
        dtype = getattr(torch, steps.RUN)
        network = network.to(dtype).to(memory_format=memory_format)
        parts = [part.to(dtype) for part in parts]
        with torch.inference_mode():
            network = torch.jit.freeze(torch.jit.trace(network, parts[0]))
    network = network.to(memory_format=memory_format)
    autocast = best and not folded and steps.RUN == "bfloat16"

    @torch.inference_mode()
    def features() -> Any:
        with torch.autocast(device, torch.bfloat16, enabled=autocast):
            return torch.cat([network(part).float() for part in parts]).cpu()

    return features


def named_weights() -> dict[str, list[np.ndarray]]:
    return {layer.name: layer.get_weights() for layer in _encoder("float32").layers}


def features_of(folded: bool, precision: str) -> np.ndarray:
    encoder = _encoder(precision)
    encoder = _folded(encoder) if folded else encoder
    return np.asarray(encoder.predict_on_batch(images(32, SIDE)), np.float32)


def torch_features(weights: dict[str, list[np.ndarray]]) -> np.ndarray:
    import torch

    from benchmarks.torch_networks import ResNet, load_keras, normalized

    network = load_keras(ResNet(), weights).eval()
    with torch.inference_mode():
        return network(normalized(images(32, SIDE))).numpy()


def check() -> str:
    """The same weights give the same features on both sides."""
    expected = ask(torch_features, ask(named_weights))
    exact = ask(features_of, True, "float32")
    np.testing.assert_allclose(exact, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    rounded = ask(features_of, True, "bfloat16")
    cosine = np.sum(rounded * expected, axis=1)
    cosine /= np.linalg.norm(rounded, axis=1) * np.linalg.norm(expected, axis=1)
    if cosine.min() < 0.999:
        raise AssertionError(f"bfloat16 features turn too far: cosine {cosine.min()}")
    return (
        "with the same weights the folded network in float32 gives PyTorch's features, in "
        f"bfloat16 features whose cosine to them is at least {np.floor(cosine.min() * 1e4) / 1e4}"
    )


def comparison() -> Comparison:
    return Comparison(
        name="feature_extraction",
        title="Feature extraction, ResNet-18, 32 px",
        turn=f"{COUNT} images in batches of {BATCH}",
        contenders=[
            *steps.in_each_precision(ours, named=", folded"),
            Contender(_PLAIN, ours, {"precision": steps.RUN, "folded": False}),
            Contender(steps.TORCH, torch_side, {"best": False}),
            Contender(steps.TORCH_BEST, torch_side, {"best": True}),
            Contender(_TORCH_FOLDED, torch_side, {"best": True, "folded": True}),
        ],
        targets=[
            *steps.targets_against(steps.TORCH, bfloat16=3.0, float32=None, named=", folded"),
            Target(_FOLDED, steps.TORCH_BEST, 1.0),
            Target(_FOLDED, _TORCH_FOLDED),
            Target(_FOLDED, _PLAIN),
        ],
        items=COUNT,
        rounds=9,
        check=check,
        notes=["Ours takes uint8 images and normalises them; PyTorch's are normalised already."],
    )
