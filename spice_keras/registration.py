"""Names of the package's classes for Keras, so that a saved model loads after `import spice_keras`.

Keras finds the class of a saved layer by a name that the class registered when its module was
imported. Importing all of them here would make `import spice_keras` wait for TensorFlow. So each
name is registered with a stand-in as soon as Keras itself is there; the stand-in imports the class
when a saved model first asks for it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PACKAGE = "spice_keras"

HOMES = {
    "ApplicationPreprocessing": "backbones.pretrained",
    "ClusterAssignment": "models.clusterer",
    "Conv2D": "backbones.convolution",
    "FixMatchCosine": "algorithm.schedules",
    "FusedAdam": "training.optimizers",
    "FusedBatchNormalization": "backbones.normalization",
    "FusedSGD": "training.optimizers",
    "GuidedClustering": "heads.guided_clustering",
    "MergedClusters": "models.clusterer",
    "MoCo": "models.moco",
    "MoCoCosine": "algorithm.schedules",
    "MultiHeadClassifier": "heads.classifier",
    "NeighborClustering": "heads.neighbor_clustering",
    "PixelNormalization": "backbones.normalization",
    "SemanticClustering": "heads.semantic_clustering",
    "SpiceSelf": "heads.spice_self",
    "SpiceSemi": "models.spice_semi",
    "SquareCutout": "augment.keras_cv_layers",
    "StrongOperation": "augment.keras_cv_layers",
    "StrongOperations": "augment.keras_cv_layers",
    "TokenPooling": "backbones.pretrained",
    "FeatureScale": "heads.classifier",
}
"""Every class that the package registers with Keras, and the module that defines it."""


class StandIn:
    """Stands in Keras's registry for a class that nobody has imported yet.

    Args:
        name: The class, a key of ``HOMES``.
    """

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def from_config(self, config: dict[str, Any], *arguments: Any) -> Any:
        """Imports the class, which then takes this place, and builds what is described.

        Args:
            config: What the class's ``get_config`` gave.
            *arguments: What else the class's ``from_config`` takes.

        Returns:
            The object.
        """
        module = import_module(f"{PACKAGE}.{HOMES[self.__name__]}")
        return getattr(module, self.__name__).from_config(config, *arguments)


class _RegisterAfterKeras(MetaPathFinder):
    """Waits for the import of Keras, registers the names after it, and is gone."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Finds Keras as the other finders do, and adds the registration to its loading."""
        if name != "keras":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (other.find_spec(name, path, target) for other in others)
        spec = next((one for one in found if one is not None), None)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_register(module: ModuleType) -> None:
            load(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            _register(module)

        spec.loader.exec_module = load_and_register  # type: ignore[method-assign]
        return spec


def register_with_keras() -> None:
    """Registers every name now if Keras was imported before, otherwise as soon as it is."""
    keras = sys.modules.get("keras")
    if keras is not None:
        _register(keras)
    elif not any(isinstance(finder, _RegisterAfterKeras) for finder in sys.meta_path):
        sys.meta_path.insert(0, _RegisterAfterKeras())


def _register(keras: ModuleType) -> None:
    known = keras.saving.get_custom_objects()
    for name in HOMES:
        known.setdefault(f"{PACKAGE}>{name}", StandIn(name))
