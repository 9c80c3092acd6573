from __future__ import annotations

import subprocess
import sys
from functools import cache
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from spice_keras.augment.policies import Policy, build_policy, policy_names
from spice_keras.options import WeakPolicy

RANDOM = sorted(set(policy_names()) - {"none"})
SEED = tf.constant([11, 4])


def _same_images(count: int, side: int = 16) -> tf.Tensor:
    image = np.random.default_rng(2).integers(0, 256, (1, side, side, 3), np.uint8)
    return tf.constant(np.repeat(image, count, axis=0))


# Tracing KerasCV's layers takes seconds, the more operations the longer.
_FEW = {"kerascv": {"num_ops": 1}}


@cache
def _by_default(name: str) -> Policy:
    return build_policy(name, **_FEW.get(name, {}))


@cache
def _views_by_default(name: str) -> np.ndarray:
    return _by_default(name)(_same_images(6), SEED).numpy()


@pytest.fixture(params=RANDOM)
def policy(request: pytest.FixtureRequest) -> Policy:
    return _by_default(request.param)


def test_output_is_like_the_input(policy: Policy) -> None:
    images = _same_images(6)
    views = policy(images, SEED)
    assert views.dtype == tf.uint8
    assert views.shape == images.shape


def test_each_image_gets_its_own_draw(policy: Policy) -> None:
    views = policy(_same_images(6), SEED).numpy()
    assert len({view.tobytes() for view in views}) >= 5


def test_the_seed_alone_decides(policy: Policy) -> None:
    images = _same_images(6)
    views = policy(images, SEED).numpy()
    np.testing.assert_array_equal(policy(images, SEED), views)
    assert not np.array_equal(policy(images, tf.constant([11, 5])), views)


def test_a_parallel_map_gives_what_eager_calls_give(policy: Policy) -> None:
    images = _same_images(6)
    seeds = np.int32([[11, 4], [0, 1], [2, 2**31 - 1]])
    dataset = tf.data.Dataset.from_tensor_slices(seeds).map(
        lambda seed: policy(images, seed), num_parallel_calls=3
    )
    assert dataset.element_spec.shape == images.shape
    for seed, views in zip(seeds, dataset, strict=True):
        np.testing.assert_array_equal(views, policy(images, tf.constant(seed)))


def test_the_last_partial_batch_may_have_any_size(policy: Policy) -> None:
    dataset = tf.data.Dataset.from_tensor_slices(_same_images(5)).batch(3)
    sizes = [len(views) for views in dataset.map(lambda images: policy(images, SEED))]
    assert sizes == [3, 2]


def test_none_returns_the_images() -> None:
    images = _same_images(3)
    np.testing.assert_array_equal(build_policy("none")(images, SEED), images)


def test_weak_shifts_over_black_and_mirrors() -> None:
    white = tf.fill([200, 16, 16, 3], tf.constant(255, tf.uint8))
    views = build_policy("weak", shift=0.25)(white, SEED).numpy()[..., 0]
    black_rows = 16 - views.max(axis=2).astype(bool).sum(axis=1)
    black_columns = 16 - views.max(axis=1).astype(bool).sum(axis=1)
    assert set(black_rows) == set(black_columns) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ("name", "still"),
    [
        ("weak", {"shift": 0.0}),
        (
            "moco",
            {
                "min_scale": 1.0,
                "jitter_probability": 0.0,
                "grayscale_probability": 0.0,
                "blur_probability": 0.0,
            },
        ),
        ("spice", {"num_ops": 0, "max_cutout": 0.0}),
    ],
)
def test_flip_mirrors_half_of_the_images_unless_it_is_off(name: str, still: dict[str, Any]) -> None:
    left_half = tf.fill([40, 16, 8, 3], tf.constant(90, tf.uint8))
    half = tf.concat([left_half, tf.zeros_like(left_half)], axis=2)
    views = build_policy(name, flip=True, **still)(half, SEED).numpy()
    mirrored = views[:, 8, 15, 0] > 45
    assert 8 < mirrored.sum() < 32
    unmirrored = build_policy(name, flip=False, **still)(half, SEED).numpy()
    assert not np.any(unmirrored[:, 8, 15, 0] > 45)


OPTIONS = [
    ("weak", {"flip": False}),
    ("weak", {"shift": 0.3}),
    ("moco", {"min_scale": 0.9}),
    ("moco", {"max_scale": 0.3}),
    ("moco", {"brightness": 0.0}),
    ("moco", {"contrast": 0.0}),
    ("moco", {"saturation": 0.0}),
    ("moco", {"hue": 0.0}),
    ("moco", {"jitter_probability": 0.1}),
    ("moco", {"grayscale_probability": 1.0}),
    ("moco", {"blur_probability": 0.0}),
    ("moco", {"blur_max_sigma": 1.0}),
    ("moco", {"flip": False}),
    ("spice", {"num_ops": 1}),
    ("spice", {"max_cutout": 0.2}),
    ("spice", {"flip": False}),
    ("upright", {"rotate": 0.0}),
    ("upright", {"zoom": 0.0}),
    ("upright", {"shift": 0.0}),
    ("upright", {"shear": 0.0}),
    ("upright", {"brightness": 0.0}),
    ("upright", {"gamma": 0.0}),
    ("upright", {"blur_max_sigma": 0.0}),
    ("upright", {"cutout": 0.5}),
    ("upright", {"fill": "black"}),
    ("kerascv", {"num_ops": 2}),
    ("kerascv", {"magnitude": 0.1}),
    ("kerascv", {"cutout": 0.0}),
]


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_every_option_changes_the_views(name: str, option: dict[str, Any]) -> None:
    views = build_policy(name, **(_FEW.get(name, {}) | option))(_same_images(6), SEED)
    assert not np.array_equal(views, _views_by_default(name))


def test_upright_keeps_grey_images_grey() -> None:
    gray = tf.repeat(_same_images(8)[..., :1], 3, axis=-1)
    views = build_policy("upright", cutout=0.0)(gray, SEED).numpy()
    assert np.ptp(views, axis=-1).max() == 0


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("stronk", {}, "`policy` must be one of none, weak"),
        ("weak", {"shifts": 0.1}, "'weak' takes flip, shift. shifts: Extra inputs"),
        ("none", {"flip": True}, "'none' takes no options. flip: Extra"),
        ("weak", {"shift": 1.5}, r"shift: Input should be less than .* Received: {'shift': 1.5}"),
        ("moco", {"hue": 0.6}, "hue: Input should be less than"),
        ("moco", {"min_scale": 0.9, "max_scale": 0.5}, "min_scale 0.9 is larger than max_scale"),
        ("moco", {"blur_probability": -0.1}, "blur_probability: Input should be greater"),
        ("spice", {"num_ops": 15}, "num_ops: Input should be less than"),
        ("upright", {"zoom": 1.0}, "zoom: Input should be less than"),
        ("upright", {"fill": "white"}, "fill: Input should be 'reflect' or 'black'"),
        ("kerascv", {"magnitude": 2.0}, "magnitude: Input should be less than"),
    ],
)
def test_wrong_parameters_are_refused(name: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_policy(name, **parameters)


def test_options_build_the_policy_they_belong_to() -> None:
    images = _same_images(6)
    views = build_policy(WeakPolicy(shift=0.3))(images, SEED)
    np.testing.assert_array_equal(views, build_policy("weak", shift=0.3)(images, SEED))
    assert not np.array_equal(views, _views_by_default("weak"))


@pytest.mark.parametrize("name", sorted(policy_names()))
def test_every_bound_of_an_option_can_be_built(name: str) -> None:
    """What the configuration lets through must not fail when the run has begun."""
    options = policy_names()[name]
    for key, field in options.model_fields.items():
        for bound in field.metadata:
            limits = [getattr(bound, kind, None) for kind in ("ge", "le")]
            for value in (limit for limit in limits if limit is not None):
                build_policy(name, **{key: type(field.default)(value)})


def test_images_of_unknown_size_are_refused() -> None:
    unknown = tf.TensorSpec([None, None, None, 3], tf.uint8)
    policy = tf.function(build_policy("spice"))
    with pytest.raises(ValueError, match="known height and width"):
        policy.get_concrete_function(unknown, tf.TensorSpec([2], tf.int32))


@pytest.mark.integration
def test_only_the_kerascv_policy_imports_keras_cv() -> None:
    code = (
        "import sys; from spice_keras.augment import policies\n"
        "for name in set(policies.policy_names()) - {'kerascv'}: policies.build_policy(name)\n"
        "sys.exit('keras_cv' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
