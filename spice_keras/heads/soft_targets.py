"""A linear head that gives the class probabilities it was told, fitted to the end."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

_DECAY = 1e-4
_MOST_STEPS = 200


def fit_soft_targets(
    features: np.ndarray, targets: np.ndarray, *, decay: float = _DECAY
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Kernel and bias of the linear head of smallest cross-entropy with soft targets.

    The loss is convex, so that the answer does not depend on a seed or on the order of rows:

        - mean_i sum_k t_ik ln softmax(x_i W + b)_k + decay / 2 * |W|^2

    Args:
        features: Rows of unit length. Shape: (num_samples, dim).
        targets: Class probabilities, rows that sum to 1. Shape: (num_samples, K).
        decay: Weight of the kernel's squared length, above 0.

    Returns:
        Kernel (dim, K) and bias (K,).

    Raises:
        ValueError: If the arrays are not of the same items.
    """
    rows, wanted = np.asarray(features, np.float64), np.asarray(targets, np.float64)
    if rows.ndim != 2 or wanted.ndim != 2 or len(rows) != len(wanted):
        raise ValueError(
            "Features and targets must be matrices of the same items. Received: "
            f"{features.shape=}, {targets.shape=}"
        )
    (count, width), classes = rows.shape, wanted.shape[1]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        kernel, bias = flat[:-classes].reshape(width, classes), flat[-classes:]
        scores = rows @ kernel + bias
        scores -= scores.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(scores).sum(axis=1, keepdims=True))
        value = -(wanted * (scores - log_sum)).sum() / count
        error = (np.exp(scores - log_sum) - wanted) / count
        gradient = rows.T @ error + decay * kernel
        return (
            value + 0.5 * decay * float(np.square(kernel).sum()),
            np.concatenate([gradient.ravel(), error.sum(axis=0)]),
        )

    with threadpool_limits(1):
        start = np.zeros((width + 1) * classes)
        found = minimize(
            loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _MOST_STEPS}
        ).x
    kernel, bias = found[:-classes].reshape(width, classes), found[-classes:]
    return kernel.astype(np.float32), bias.astype(np.float32)
