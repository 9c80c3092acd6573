"""`spice pack` and `spice embed` from the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spice_keras.shards.embeddings import EmbeddingShards
from tests.integration.tiny import invoke

pytestmark = pytest.mark.integration
_COUNT = 7


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for number in range(_COUNT):
        place = folder / f"kind {number % 2}"
        place.mkdir(exist_ok=True)
        pixels = generator.integers(0, 255, (20, 20, 3), np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.png")
    return folder


def test_images_are_packed_and_embedded(photos: Path, tmp_path: Path) -> None:
    packed, out = tmp_path / "packed", tmp_path / "embeddings"
    said = invoke("pack", photos, packed, "--rows", 3, "--labels")
    assert said.exit_code == 0, said.output
    assert f"pack: {_COUNT} images in 3 shards" in said.stderr
    arguments = ("embed", packed, out, "--size", 32, "--rows", 4)
    first = invoke(*arguments, "--part", "2/2")
    assert first.exit_code == 0, first.output
    assert "other parts are missing" in first.stderr
    second = invoke(*arguments)
    assert second.exit_code == 0, second.output
    assert f"embed: {_COUNT} embeddings of 1280 values in 2 shards" in second.stderr
    shards = EmbeddingShards(out)
    assert len(shards) == _COUNT
    assert shards.manifest.facts["image_size"] == 32
    ids = shards.sample(None)[0]
    assert sorted(ids) == sorted(f"kind {number % 2}/{number}" for number in range(_COUNT))
    other = invoke("embed", packed, out, "--size", 48, "--rows", 4)
    assert other.exit_code == 2
    assert "image_size: 32 there, 48 now" in other.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("embed", "photos", "out", "--part", "3/2"), "must be I/N"),
        (("embed", "photos", "out", "--backbone", "small_resnet"), "spice pretrain"),
        (("embed", "photos", "out", "--run-dir", "runs/none"), "runs/none"),
        (("embed", "gone", "out"), "there is no such file or folder"),
        (("pack", "gone", "out"), "there is no such file or folder"),
        (("pack", "photos", "photos"), "not empty and holds no shards"),
        (("pack", "x.npy", "out"), "holds no image files"),
    ],
)
def test_what_cannot_work_is_refused(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").symlink_to(photos)
    np.save(tmp_path / "x.npy", np.zeros((3, 8, 8), np.uint8))
    said = invoke(*arguments)
    assert said.exit_code == 2, said.output
    assert message in said.output
    assert "Traceback" not in said.output
    assert not (tmp_path / "out").exists()
