"""What the card of an exported model says, taken from a run."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, metadata, version
from typing import Any

from spice_keras.options import BACKBONES, HUB_PREFIX, KERAS_PREFIX, LiteSpec
from spice_keras.run.context import Context
from spice_keras.run.store import Evaluation, Heads
from spice_keras.serving.facts import ModelFacts

_FIGURES = ("acc", "nmi", "ari", "purity", "local_consistency", "silhouette", "size_balance")
_VERSIONED = ("spice-keras", "tensorflow", "keras")
_LIMITS = (
    "It sorts into the groups of the images it was made from. An image unlike all of them gets one "
    "of these groups as well; look at `confidence`, and at `unsure`.",
    "Numbers of clusters carry no meaning and differ between runs.",
)
_CONFIDENCE = {
    False: "A confidence is the network's probability, not the share of right answers.",
    True: "A confidence was calibrated without labels. On data sets left out, 87 % of the items "
    "that heads of `neighbors` said to be 85 to 95 % sure were in the largest class of their "
    "cluster; by set 75 to 95 %.",
}


def model_card(context: Context, facts: ModelFacts, export: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a model that is being exported.

    Args:
        context: The run.
        facts: What is written into spice.json.
        export: What is known of this file: format, precision, agreement.

    Returns:
        Sections by name, as `write_card` takes them.
    """
    config = context.config
    limits = [*_LIMITS, _CONFIDENCE[_calibrated(context)]]
    if facts.unsure_below is not None:
        limits.append(
            f"`unsure` is true below a confidence of {facts.unsure_below:.4g}. At or above it, at "
            "least 95 % of the run's own items agree with most of their neighbours, unless the "
            "threshold was set by hand."
        )
    return {
        "title": f"{config.name}: {config.num_clusters} clusters",
        "data": _data(context),
        "encoder": _encoder(context),
        "clusters": {"number": config.num_clusters, "names": [*facts.names]},
        "figures": _figures(context),
        "export": dict(export),
        "limits": limits,
        "licence": _licence(context),
        "versions": {name: _version(name) for name in _VERSIONED},
    }


def _calibrated(context: Context) -> bool:
    """Whether the probabilities of the run's last network are calibrated."""
    if context.config.semi.enabled:
        return False
    return context.load(Heads).temperature != 1.0


def _data(context: Context) -> dict[str, Any]:
    data = context.config.data
    found: dict[str, Any] = {"source": data.source, "items": len(context.ids)}
    if context.has_images:
        found |= {"side in pixels": data.image_size, "fit": data.fit}
        found["files left out"] = len(context.skipped)
    else:
        found["features"] = int(context.given_features.shape[1])
    return found


def _encoder(context: Context) -> dict[str, Any]:
    config = context.config
    if not context.has_images:
        return {"name": "none: the model takes embeddings that were made elsewhere"}
    semi = config.semi.enabled
    name = (config.semi.backbone or config.backbone).name if semi else config.backbone.name
    last = "SPICE-Semi" if semi else "SPICE-Self"
    return {"name": name, "last stage": last, "precision of the run": config.precision}


def _figures(context: Context) -> dict[str, Any]:
    """The figures of the last training stage; those by labels only if labels were known."""
    if not context.run.has(Evaluation.name):
        return {"evaluated": "no"}
    metrics = context.load(Evaluation).metrics
    stage = metrics.get("semi") or metrics.get("self") or {}
    found = {name: stage[name] for name in _FIGURES if stage.get(name) is not None}
    expected = metrics.get("expected_accuracy")
    if expected:
        low, high = expected["low"], expected["high"]
        found["expected accuracy"] = f"{expected['acc']:.2f} ({low:.2f} to {high:.2f})"
    return found


def _licence(context: Context) -> str:
    """Whose the weights are."""
    config = context.config
    if not context.has_images:
        return "The weights were trained on your embeddings; those of their encoder are not here."
    semi = config.semi.enabled and config.semi.init == "scratch"
    name = "" if semi else config.backbone.name
    spec = BACKBONES.get(name)
    if isinstance(spec, LiteSpec):
        return (
            "The encoder's weights, trained on ImageNet, come from the package "
            f"{spec.distribution}{_stated(spec.distribution)}."
        )
    if name.startswith(KERAS_PREFIX):
        return (
            "The encoder's weights, trained on ImageNet, come from keras.applications; its page "
            "names the licence of each."
        )
    if name.startswith(HUB_PREFIX):
        return f"The encoder's weights are those of the preset {name}; its page names the licence."
    return "All weights were trained on your images."


def _stated(package: str) -> str:
    try:
        facts = metadata(package)
    except PackageNotFoundError:
        return ", which is not installed here"
    said = facts.get_all("License-Expression") or facts.get_all("License") or ["UNKNOWN"]
    if said[0] == "UNKNOWN":
        return ", whose metadata states no licence: ask its authors before you pass them on"
    return f", under {said[0]}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a checkout that runs without being installed
        return "not installed"
