"""Deep image clustering for Keras 3 / TensorFlow: SPICE, from images to a SavedModel.

from spice_keras import load_config, run_all

config = load_config("folder", overrides={"data.path": "photos", "num_clusters": 12})
result = run_all(config, "runs/photos")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from spice_keras.registration import register_with_keras

if TYPE_CHECKING:
    from spice_keras.config import RunConfig, load_config
    from spice_keras.estimator import SpiceClusterer
    from spice_keras.heads.spice_self import SpiceSelf
    from spice_keras.models.moco import MoCo
    from spice_keras.models.spice_semi import SpiceSemi
    from spice_keras.pipeline import RunResult, run_all, run_stages

__all__ = [
    "MoCo",
    "RunConfig",
    "RunResult",
    "SpiceClusterer",
    "SpiceSelf",
    "SpiceSemi",
    "load_config",
    "run_all",
    "run_stages",
]

_HOMES = {
    "MoCo": "spice_keras.models.moco",
    "RunConfig": "spice_keras.config",
    "RunResult": "spice_keras.pipeline",
    "SpiceClusterer": "spice_keras.estimator",
    "SpiceSelf": "spice_keras.heads.spice_self",
    "SpiceSemi": "spice_keras.models.spice_semi",
    "load_config": "spice_keras.config",
    "run_all": "spice_keras.pipeline",
    "run_stages": "spice_keras.pipeline",
}


def __getattr__(name: str) -> Any:
    """Import on first use: `spice --help` must not wait for TensorFlow."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


register_with_keras()
