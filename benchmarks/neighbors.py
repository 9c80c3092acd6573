"""A hundred nearest neighbours of every item by cosine."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.data import embeddings
from benchmarks.harness import Comparison, Target
from benchmarks.workers import Contender, Work, ask

DIM, NEIGHBORS = 512, 100
_OURS, _SKLEARN, _FAISS = "spice_keras", "scikit-learn, brute force", "FAISS IndexFlatIP"


def ours(count: int) -> Work:
    from spice_keras.runtime import start_tensorflow

    start_tensorflow()
    from spice_keras.clustering.neighbors import nearest_neighbors

    rows = embeddings(count, DIM)
    return lambda: nearest_neighbors(rows, NEIGHBORS)


def sklearn_side(count: int) -> Work:
    """Euclidean: the same order on unit rows, and faster than its cosine."""
    from sklearn.neighbors import NearestNeighbors

    rows = embeddings(count, DIM)
    search = NearestNeighbors(n_neighbors=NEIGHBORS, algorithm="brute", n_jobs=-1).fit(rows)
    return lambda: search.kneighbors(rows, return_distance=False)


def faiss_side(count: int) -> Work:
    import faiss

    rows = embeddings(count, DIM)

    def turn() -> np.ndarray:
        index = faiss.IndexFlatIP(DIM)
        index.add(rows)
        return index.search(rows, NEIGHBORS)[1]

    return turn


def found(build: str, count: int) -> np.ndarray:
    """Neighbours that one side finds."""
    work = {"ours": ours, "sklearn": sklearn_side, "faiss": faiss_side}[build](count)
    return np.asarray(work())


def shared(first: np.ndarray, second: np.ndarray) -> float:
    """Share of the neighbours that two searches have in common."""
    pairs = zip(first.tolist(), second.tolist(), strict=True)
    return sum(len(set(a) & set(b)) for a, b in pairs) / first.size


def check(count: int) -> str:
    """All find the same neighbours."""
    mine = ask(found, "ours", count)
    same = {name: shared(mine, ask(found, name, count)) for name in ("sklearn", "faiss")}
    if min(same.values()) < 0.9999:
        raise AssertionError(f"The searches disagree: {same}")
    each = " and ".join(f"{share:.4%} with {name}" for name, share in same.items())
    return f"of {count} items' neighbours ours shares {each} (the rest are ties in float32)"


def comparison(count: int) -> Comparison:
    return Comparison(
        name=f"neighbors_{count}",
        title=f"Neighbours, {count:,} x {DIM}, n_s = {NEIGHBORS}",
        turn="the whole search",
        contenders=[
            Contender(_OURS, ours, {"count": count}),
            Contender(_SKLEARN, sklearn_side, {"count": count}),
            Contender(_FAISS, faiss_side, {"count": count}),
        ],
        targets=[Target(_OURS, _SKLEARN, 3.0), Target(_OURS, _FAISS, 0.9)],
        items=count,
        unit="items",
        rounds=7,
        warm_ups=1,
        check=partial(check, 4000),
    )
