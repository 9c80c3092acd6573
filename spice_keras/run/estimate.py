"""About how long each stage of a run takes, before it begins and once its encoder was timed.

The figures are of one run of 2,000 photographs (efficientnet_lite0, 224 pixels, 10 clusters) on two
AVX2 cores that other programs kept busy; another machine takes a multiple, the same for each stage.
"""

from __future__ import annotations

from collections.abc import Mapping

from spice_keras.config import Plan, RunConfig

# Seconds: of an image to decode, of one to encode by its encoder and side, of a step of the heads,
# of an image to evaluate, and of the SavedModel.
_DECODE, _HEAD_STEP, _EVALUATE, _EXPORT = 0.0034, 0.078, 0.0148, 21.6
_ENCODE: Mapping[str, tuple[float, int]] = {"efficientnet_lite0": (0.1125, 224)}
# Alone the same machine encodes 23 such images a second, in .39 of the time; the other stages were
# not timed alone.
_ALONE = 0.39


def encode_seconds(config: RunConfig) -> float | None:
    """Say how long the reference machine takes to encode an image.

    Args:
        config: The configuration.

    Returns:
        Seconds, on the busy machine of the figures above; None for an encoder that was not timed.
    """
    if config.backbone.name not in _ENCODE or not config.backbone.pretrained:
        return None
    seconds, side = _ENCODE[config.backbone.name]
    return seconds * (config.data.image_size / side) ** 2


def stage_seconds(
    config: RunConfig, plan: Plan, per_image: float | None = None
) -> dict[str, float] | None:
    """Estimate the stages of a run that trains no encoder.

    Args:
        config: The configuration.
        plan: Its sizes and steps.
        per_image: Seconds this machine takes to encode an image; None if it was not timed.

    Returns:
        Stage to seconds; None if the run trains an encoder or SPICE-Semi, whose first steps are
        timed instead, or has an encoder of which nothing is known.
    """
    known = encode_seconds(config) if plan.image_bytes else 0.0
    heads = plan.self_labeling
    if config.trains_encoder or plan.semi.epochs or heads.pseudo_labels is not None:
        return None
    if known is None and per_image is None:
        return None
    speed = _ALONE if per_image is None or not known else per_image / known
    images = plan.num_images if plan.image_bytes else 0
    found = {
        "images": speed * _DECODE * images,
        "embed": (speed * (known or 0.0) if per_image is None else per_image)
        * (heads.encoder_passes if images else 0),
        "self": speed * _HEAD_STEP * heads.epochs * heads.iterations_per_epoch,
        "eval": speed * _EVALUATE * plan.num_images,
        "export": speed * _EXPORT,
    }
    return {stage: seconds for stage, seconds in found.items() if seconds}
