"""ClusterResNet's own: its initial weights, and pooling that keeps the border."""

from __future__ import annotations

import numpy as np

from spice_keras.backbones.cluster_resnet import cluster_resnet34, resnet18_stl


def test_cluster_resnet_starts_uniform_and_the_stl_network_kaiming_normal() -> None:
    name = "stage2_block1_2_conv"
    uniform = cluster_resnet34(8, width=16).get_layer(name).kernel.numpy()
    bound = 1.0 / np.sqrt(9 * 32)
    assert 0.999 * bound < np.abs(uniform).max() <= bound
    np.testing.assert_allclose(uniform.std(), bound / np.sqrt(3.0), rtol=0.03)
    normal = resnet18_stl(8, width=16).get_layer(name).kernel.numpy()
    np.testing.assert_allclose(normal.std(), np.sqrt(2.0 / (9 * 32)), rtol=0.03)
    assert np.abs(normal).max() > 3.0 * normal.std()


def test_pooling_sees_the_corner_alone() -> None:
    """Windows of side 2 begin one pixel outside: the corner pixel has one for itself."""
    model = resnet18_stl(6, width=1)
    rng = np.random.default_rng(0)
    x = rng.uniform(0.0, 1.0, (1, 6, 6, 1)).astype(np.float32)
    pooled = model.get_layer("stem_pool")(model.get_layer("stem_pool_padding")(x))
    assert pooled.shape == (1, 4, 4, 1)
    assert pooled[0, 0, 0, 0] == x[0, 0, 0, 0]
    assert pooled[0, 3, 3, 0] == x[0, 5, 5, 0]
    assert pooled[0, 1, 1, 0] == x[0, 1:3, 1:3, 0].max()
