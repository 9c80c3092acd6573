"""Deep image clustering for Keras 3 / TensorFlow: SPICE, from images to a SavedModel.

    from spice_keras import load_config, run_all

    config = load_config("folder", overrides={"data.path": "photos", "num_clusters": 12})
    result = run_all(config, "runs/photos")

Every public name is imported when it is first used, so that `import spice_keras` is light. Models
that were saved as `.keras` files load after it: `keras.models.load_model("moco.keras")`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from spice_keras.registration import register_with_keras

if TYPE_CHECKING:
    from spice_keras import views
    from spice_keras.algorithm.double_softmax import double_softmax_cross_entropy
    from spice_keras.algorithm.fixmatch import fixmatch_loss
    from spice_keras.algorithm.info_nce import info_nce
    from spice_keras.algorithm.local_consistency import local_consistency, reliable_labels
    from spice_keras.augment.policies import build_policy
    from spice_keras.backbones.factory import build_backbone, register_backbone
    from spice_keras.config import RunConfig, load_config
    from spice_keras.errors import UserError
    from spice_keras.estimator import SpiceClusterer
    from spice_keras.groups.suggest import GroupSuggestion, suggest_clusters
    from spice_keras.heads.losses import head_losses, neighbor_head_losses
    from spice_keras.heads.neighbor_clustering import NeighborClustering
    from spice_keras.heads.selection import HeadChoice, HeadSelection
    from spice_keras.heads.spice_self import SpiceSelf
    from spice_keras.metrics.clustering import (
        adjusted_rand_index,
        clustering_accuracy,
        normalized_mutual_information,
    )
    from spice_keras.models.clusterer import (
        build_clusterer,
        clusterer_from_network,
        embedding_clusterer,
    )
    from spice_keras.models.moco import MoCo
    from spice_keras.models.spice_semi import SpiceSemi
    from spice_keras.options import (
        KerasCVPolicy,
        MocoPolicy,
        NonePolicy,
        SelfVariant,
        SpicePolicy,
        UprightPolicy,
        WeakPolicy,
    )
    from spice_keras.pipeline import (
        RunResult,
        repair_run,
        reproduce_run,
        run_all,
        run_stages,
        update_run,
    )
    from spice_keras.runtime import tensorflow_session
    from spice_keras.serving.signatures import export_clusterer, export_embedding_clusterer
    from spice_keras.shards.embeddings import EmbeddingShards
    from spice_keras.views import (
        moco_views,
        neighbor_views,
        self_feature_views,
        self_views,
        semi_views,
    )

__all__ = [
    "EmbeddingShards",
    "GroupSuggestion",
    "HeadChoice",
    "HeadSelection",
    "KerasCVPolicy",
    "MoCo",
    "MocoPolicy",
    "NeighborClustering",
    "NonePolicy",
    "RunConfig",
    "RunResult",
    "SelfVariant",
    "SpiceClusterer",
    "SpicePolicy",
    "SpiceSelf",
    "SpiceSemi",
    "UprightPolicy",
    "UserError",
    "WeakPolicy",
    "adjusted_rand_index",
    "build_backbone",
    "build_clusterer",
    "build_policy",
    "clusterer_from_network",
    "clustering_accuracy",
    "double_softmax_cross_entropy",
    "embedding_clusterer",
    "export_clusterer",
    "export_embedding_clusterer",
    "fixmatch_loss",
    "head_losses",
    "info_nce",
    "load_config",
    "local_consistency",
    "moco_views",
    "neighbor_head_losses",
    "neighbor_views",
    "normalized_mutual_information",
    "register_backbone",
    "reliable_labels",
    "repair_run",
    "reproduce_run",
    "run_all",
    "run_stages",
    "self_feature_views",
    "self_views",
    "semi_views",
    "suggest_clusters",
    "tensorflow_session",
    "update_run",
    "views",
]

_LIGHT = {
    "config": ("RunConfig", "load_config"),
    "errors": ("UserError",),
    "options": (
        "KerasCVPolicy",
        "MocoPolicy",
        "NonePolicy",
        "SelfVariant",
        "SpicePolicy",
        "UprightPolicy",
        "WeakPolicy",
    ),
    "runtime": ("tensorflow_session",),
    "shards.embeddings": ("EmbeddingShards",),
}
_ON_TENSORFLOW = {
    "algorithm.double_softmax": ("double_softmax_cross_entropy",),
    "algorithm.fixmatch": ("fixmatch_loss",),
    "algorithm.info_nce": ("info_nce",),
    "algorithm.local_consistency": ("local_consistency", "reliable_labels"),
    "augment.policies": ("build_policy",),
    "backbones.factory": ("build_backbone", "register_backbone"),
    "estimator": ("SpiceClusterer",),
    "groups.suggest": ("GroupSuggestion", "suggest_clusters"),
    "heads.losses": ("head_losses", "neighbor_head_losses"),
    "heads.neighbor_clustering": ("NeighborClustering",),
    "heads.selection": ("HeadChoice", "HeadSelection"),
    "heads.spice_self": ("SpiceSelf",),
    "metrics.clustering": (
        "adjusted_rand_index",
        "clustering_accuracy",
        "normalized_mutual_information",
    ),
    "models.clusterer": ("build_clusterer", "clusterer_from_network", "embedding_clusterer"),
    "models.moco": ("MoCo",),
    "models.spice_semi": ("SpiceSemi",),
    "pipeline": (
        "RunResult",
        "repair_run",
        "reproduce_run",
        "run_all",
        "run_stages",
        "update_run",
    ),
    "serving.signatures": ("export_clusterer", "export_embedding_clusterer"),
    "views": (
        "moco_views",
        "neighbor_views",
        "self_feature_views",
        "self_views",
        "semi_views",
        "views",
    ),
}
_HOMES = {name: home for home, names in (_LIGHT | _ON_TENSORFLOW).items() for name in names}


def __getattr__(name: str) -> Any:
    """Import on first use: `spice --help` must not wait for TensorFlow."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES[name]
    if home in _ON_TENSORFLOW:
        import_module(f"{__name__}.runtime").refuse_other_backend()
    module = import_module(f"{__name__}.{home}")
    return module if name == home else getattr(module, name)


def __dir__() -> list[str]:
    """List the public names, whether they were imported yet or not."""
    return sorted({*globals(), *__all__})


register_with_keras()
