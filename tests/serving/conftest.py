"""One exported model for the tests of this room: tracing one takes seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from spice_keras.files import write_json
from spice_keras.serving.signatures import export_clusterer
from tests.models.synthetic import SIDE, clusterer


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """saved_models/photos with version 1, of `clusterer()`; leave it as it is."""
    folder = tmp_path_factory.mktemp("saved_models") / "photos"
    export_clusterer(clusterer(), folder / "1", names=("a", "b", "c"))
    facts = {"num_clusters": 3, "image_size": SIDE, "fit": "crop", "max_pixels": 10_000}
    write_json(folder / "1" / "spice.json", facts | {"names": ["a", "b", "c"]})
    return folder
