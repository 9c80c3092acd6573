from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from spice_keras.report.thumbnails import (
    MAX_PNG_BYTES,
    MAX_THUMBNAILS,
    PLANS,
    affordable_plans,
    display_side,
    figure_uri,
    thumbnail,
)


def decoded(uri: str) -> tuple[str | None, npt.NDArray[np.uint8]]:
    header, payload = uri.split(",", 1)
    assert header in ("data:image/png;base64", "data:image/jpeg;base64")
    with Image.open(io.BytesIO(base64.b64decode(payload))) as picture:
        return picture.format, np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("grey", [False, True])
def test_tiny_images_are_kept_exactly(grey: bool) -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    if grey:
        image[...] = image[..., :1]
    kind, restored = decoded(thumbnail(image, PLANS[0]))
    assert kind == "PNG"
    np.testing.assert_array_equal(restored, image)


def test_large_images_are_reduced_to_the_plan() -> None:
    image = np.full((224, 224, 3), (200, 40, 90), dtype=np.uint8)
    kind, restored = decoded(thumbnail(image, PLANS[0]))
    assert kind == "JPEG"
    assert restored.shape == (PLANS[0].side, PLANS[0].side, 3)
    np.testing.assert_allclose(restored.mean((0, 1)), (200, 40, 90), atol=4)


def test_images_between_are_never_enlarged_in_the_file() -> None:
    image = np.zeros((48, 48, 3), dtype=np.uint8)
    assert decoded(thumbnail(image, PLANS[0]))[1].shape == (48, 48, 3)


@pytest.mark.parametrize("image_size", [1, 8, 16, 28, 32])
def test_tiny_images_are_enlarged_by_a_whole_factor(image_size: int) -> None:
    assert display_side(image_size) % image_size == 0
    assert 32 <= display_side(image_size) <= 64


@pytest.mark.parametrize("num_clusters", [1, 10, 50, 200, 5000])
def test_there_is_always_a_plan_and_many_clusters_get_modest_ones(num_clusters: int) -> None:
    plans = affordable_plans(num_clusters)
    assert plans[-1] is PLANS[-1]
    assert len(plans) == 1 or all(
        num_clusters * (plan.prototypes + plan.least_certain) <= MAX_THUMBNAILS for plan in plans
    )


def test_only_large_figures_are_compressed(tmp_path: Path) -> None:
    small, large = tmp_path / "small.png", tmp_path / "large.png"
    Image.fromarray(np.zeros((200, 200, 3), np.uint8)).save(small)
    noise = np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    Image.fromarray(noise).save(large)
    assert large.stat().st_size > MAX_PNG_BYTES
    assert decoded(figure_uri(small))[0] == "PNG"
    kind, restored = decoded(figure_uri(large))
    assert (kind, restored.shape) == ("JPEG", (500, 500, 3))
    assert len(figure_uri(large)) < large.stat().st_size
