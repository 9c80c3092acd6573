"""SPICE-Self as the reference trains it: a loop over heads, views encoded when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def make_heads(num_heads: int, dim: int, num_clusters: int) -> nn.ModuleList:
    """Heads of two layers that end in a softmax."""
    return nn.ModuleList(
        nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, num_clusters), nn.Softmax(1))
        for _ in range(num_heads)
    )


def pseudo_labels(
    embedding: Tensor, probabilities: Tensor, confident_ratio: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Samples and labels of one head: the nearest of each cluster's prototype."""
    num_samples, num_clusters = probabilities.shape
    per_cluster = num_samples // num_clusters
    confident = probabilities.topk(int(confident_ratio * per_cluster), dim=0).indices
    prototypes = embedding[confident].mean(dim=0)
    nearest = (embedding @ prototypes.T).topk(per_cluster, dim=0).indices
    labels = torch.arange(num_clusters).repeat_interleave(per_cluster)
    return nearest.T.reshape(-1), labels


def train(
    heads: Sequence[nn.Module],
    optimizer: torch.optim.Optimizer,
    features: Callable[[Tensor], Tensor],
    samples: Sequence[Tensor],
    labels: Tensor,
    batches: Sequence[Tensor],
) -> Tensor:
    """Optimizer steps on every batch of pairs; the mean loss of each head.

    Args:
        heads: The heads trained.
        optimizer: Over all of their parameters.
        features: Of the strong views of some samples.
        samples: For each head the samples of its pairs.
        labels: Of the pairs.
        batches: Places of pairs, for each step.
    """
    totals = torch.zeros(len(heads))
    for positions in batches:
        optimizer.zero_grad()
        for number, head in enumerate(heads):
            chosen = features(samples[number][positions])
            # Cross-entropy of a softmax that follows the head's own softmax, as released.
            loss = functional.cross_entropy(head(chosen), labels[positions])
            loss.backward()
            totals[number] += loss.detach()
        optimizer.step()
    return totals / len(batches)


def adam(heads: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(heads.parameters(), lr=0.005)
