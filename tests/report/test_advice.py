from __future__ import annotations

import numpy as np
import pytest

from spice_keras.metrics.cluster_links import ClusterLinks
from spice_keras.report.advice import Advice, cluster_advice
from spice_keras.report.clustering import Clustering
from spice_keras.words.naming import ClusterName


def _advice(
    kept: float, *, mixed: float = 0.05, stability: float = 0.9, split: float = 0.0
) -> Advice | None:
    """Advice about cluster 1 of two."""
    links = ClusterLinks(
        kept=np.array([0.9, kept]),
        mixes_with=np.array([1, 0]),
        mixed_share=np.array([0.1, mixed]),
        stability=np.array([0.9, stability]),
        split_share=np.array([0.0, split]),
    )
    clustering = Clustering(
        num_clusters=2,
        clusters=np.array([0, 1], np.int32),
        confidence=np.ones(2, np.float32),
        reliable=np.ones(2, bool),
        agrees=np.ones(2, bool),
        prototypes={},
        least_certain={},
        links=links,
        cluster_names=[ClusterName("dog"), ClusterName(None, reason="none fits")],
    )
    return cluster_advice(1, clustering, "image")


@pytest.mark.parametrize(("kept", "badge"), [(0.9, "tight"), (0.7, "mixed"), (0.4, "loose")])
def test_the_badge_says_how_many_neighbours_stay(kept: float, badge: str) -> None:
    advice = _advice(kept)
    assert advice is not None
    assert advice.badge == badge


def test_a_cluster_that_other_heads_split_may_be_two() -> None:
    advice = _advice(0.9, stability=0.4, split=0.6)
    assert advice is not None
    assert "Perhaps two groups: 60" in advice.sentence
    assert advice.action == "split"


def test_a_cluster_that_mixes_names_the_other() -> None:
    advice = _advice(0.7, mixed=0.25)
    assert advice is not None
    assert "Mixes with cluster 0 (dog)," in advice.sentence
    assert (advice.action, advice.other) == ("merge", 0)


def test_a_cluster_that_other_heads_draw_otherwise_is_to_be_looked_at() -> None:
    advice = _advice(0.9, stability=0.4, split=0.2)
    assert advice is not None
    assert "draw it differently" in advice.sentence


def test_one_head_alone_leaves_the_neighbours() -> None:
    advice = _advice(0.9, stability=np.nan, split=np.nan)
    assert advice == Advice(
        "tight", "Nothing speaks against it; its least certain members are worth a look."
    )


def test_an_empty_cluster_has_no_advice() -> None:
    assert _advice(np.nan) is None
