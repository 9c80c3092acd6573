"""The configurations of the paper's six data sets: what they plan, and where they come from."""

from __future__ import annotations

import pytest

from spice_keras.backbones.factory import BACKBONES
from spice_keras.config import load_config, make_plan
from spice_keras.config.loading import find_config
from spice_keras.config.plan import Plan
from spice_keras.config.protocol import PartCounts

_COUNTS = {
    "stl10": PartCounts(5_000, 8_000, 100_000),
    "cifar10": PartCounts(50_000, 10_000),
    "cifar100-20": PartCounts(50_000, 10_000),
    "imagenet10": PartCounts(13_000),
    "imagenet-dogs": PartCounts(19_500),
    "tinyimagenet": PartCounts(100_000, 10_000),
    "tinyimagenet-released": PartCounts(100_000),
}
_NAMES = sorted({name for base in _COUNTS for name in (base, f"{base.split('-rel')[0]}-released")})
# Clusters, M of the paper and of the released code, tau_c of the code as shares above which.
_TABLE = {
    "stl10": (10, 1000, 5000, 0.90),
    "cifar10": (10, 1000, 5000, 0.99),
    "cifar100-20": (20, 2000, 10_000, 0.99),
    "imagenet10": (10, 1000, 5000, 0.90),
    "imagenet-dogs": (15, 1500, 8000, 0.90),
    "tinyimagenet": (200, 5000, 5000, 0.90),
}


def _plan(name: str, protocol: str | None = None) -> Plan:
    counts = _COUNTS.get(name) or _COUNTS[name.removesuffix("-released")]
    overrides = {} if protocol is None else {"data.protocol": protocol}
    return make_plan(load_config(name, overrides=overrides), counts)


@pytest.mark.parametrize("name", _NAMES)
def test_the_plan_needs_no_adaptation(name: str) -> None:
    assert _plan(name).notes == ()


@pytest.mark.parametrize("base", sorted(_TABLE))
def test_the_values_are_those_of_the_table(base: str) -> None:
    clusters, paper, code, threshold = _TABLE[base]
    faithful, released = load_config(base), load_config(f"{base}-released")
    assert (faithful.num_clusters, released.num_clusters) == (clusters, clusters)
    assert (faithful.self_labeling.large_batch, released.self_labeling.large_batch) == (paper, code)
    assert faithful.reliable.consistency_threshold == 0.95
    # The code's >= of shares in hundredths, as the strict comparison here.
    above = released.reliable.consistency_threshold
    assert threshold - 0.01 < above < threshold
    assert released.reliable.balance == "min"
    assert (faithful.self_labeling.batch_norm, released.self_labeling.batch_norm) == (
        "frozen",
        "adapt",
    )


@pytest.mark.parametrize(
    ("name", "protocol", "pretrained", "steps", "clustered", "reported"),
    [
        ("stl10", "whole", 113_000, 882, 13_000, 13_000),
        ("stl10", "split", 105_000, 820, 5_000, 8_000),
        ("cifar10", "whole", 60_000, 468, 60_000, 60_000),
        ("cifar10", "split", 50_000, 390, 50_000, 10_000),
        ("cifar100-20", "split", 50_000, 390, 50_000, 10_000),
        ("tinyimagenet", "split", 100_000, 781, 100_000, 10_000),
    ],
)
def test_the_protocol_is_one_switch(
    name: str, protocol: str, pretrained: int, steps: int, clustered: int, reported: int
) -> None:
    plan = _plan(name, protocol)
    assert (plan.pretrain.num_images, plan.pretrain.steps_per_epoch) == (pretrained, steps)
    assert (plan.num_images, plan.reported_images) == (clustered, reported)


def test_stl10s_unlabelled_images_go_on_into_semi() -> None:
    assert _plan("stl10", "split").semi.num_images == 105_000


def test_superclasses_are_what_cifar100_is_compared_with() -> None:
    assert load_config("cifar100-20").data.label_key == "coarse_label"


@pytest.mark.parametrize("name", _NAMES)
def test_shifts_are_four_pixels_and_networks_are_built_here(name: str) -> None:
    config = load_config(name)
    for policy in (config.self_labeling.weak, config.semi.weak) if config.semi.enabled else ():
        assert policy.policy == "weak"
        assert int(policy.shift * config.data.image_size) == 4
    for backbone in (config.backbone, config.semi.backbone or config.backbone):
        assert backbone.name in BACKBONES


@pytest.mark.parametrize("name", _NAMES)
def test_the_header_says_that_nothing_was_measured(name: str) -> None:
    first, *rest = find_config(name).read_text("utf-8").splitlines()
    assert first.endswith("Not measured.")
    assert any(line.startswith("# Nothing was measured with this file") for line in rest)
    assert f"#   spice run {name}" in "\n".join(rest)
