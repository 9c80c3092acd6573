"""What to do next: the commands that this result suggests."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from spice_keras.report.advice import Advice
from spice_keras.report.data import ReportData

_MOST_NAMED = 3


@dataclass(frozen=True)
class NextStep:
    """One thing to do.

    Attributes:
        sentence: why, or what for.
        commands: what to type, one after the other.
    """

    sentence: str
    commands: tuple[str, ...]


def next_steps(data: ReportData, advice: Sequence[Advice | None]) -> tuple[NextStep, ...]:
    """Lists what this result suggests, the most pressing first.

    Args:
        data: the run.
        advice: [K] what the report says of each cluster.

    Returns:
        The steps. Every command can be typed in the folder the run was started from.
    """
    return (
        *_other_numbers(data, advice),
        *_by_hand(data),
        *_words(data),
        *_use(data),
    )


def _other_numbers(data: ReportData, advice: Sequence[Advice | None]) -> Iterator[NextStep]:
    """Fewer clusters if some are empty or mix, more if some may be two."""
    clustering, number = data.clustering, data.clustering.num_clusters
    empty = int(np.count_nonzero(clustering.sizes == 0))
    pairs = _pairs(advice)
    splits = [cluster for cluster, said in enumerate(advice) if said and said.action == "split"]
    if clustering.is_collapsed:
        yield _another_start(data)
        return
    if empty and number - empty >= 2:
        yield NextStep(
            "Some clusters are empty: ask for fewer. This replaces the clusters of the run.",
            _again(data, "--clusters", str(number - empty)),
        )
    fewer = _groups_after(pairs, number)
    if pairs and fewer >= 2:
        named = "; ".join(
            f"{clustering.title_of(one)} and {clustering.title_of(other)}"
            for one, other in pairs[:_MOST_NAMED]
        )
        more = f"; and {len(pairs) - _MOST_NAMED} more pairs" if len(pairs) > _MOST_NAMED else ""
        yield NextStep(
            f"These mix: {named}{more}. Join the clusters that are most alike; the run stays.",
            (_command("groups", data.run.folder, "--cut", str(fewer)),),
        )
    if splits:
        named = ", ".join(map(clustering.title_of, splits[:_MOST_NAMED]))
        more = f" and {len(splits) - _MOST_NAMED} more" if len(splits) > _MOST_NAMED else ""
        yield NextStep(
            f"Perhaps two groups each: {named}{more}. Ask for more clusters. This replaces the "
            "clusters of the run.",
            _again(data, "--clusters", str(number + len(splits))),
        )
    if data.groups is None:
        yield NextStep(
            f"Not sure that {number} is the right number? Look how many groups there are.",
            (_command("groups", data.run.folder),),
        )


def _another_start(data: ReportData) -> NextStep:
    start = "kmeans" if data.setup.heads.start == "random" else "balanced-kmeans"
    return NextStep(
        "Every cluster but one is empty: start the clusters elsewhere. This replaces those of "
        "the run.",
        _again(data, "--set", f"self.start={start}"),
    )


def _pairs(advice: Sequence[Advice | None]) -> list[tuple[int, int]]:
    """Clusters that mix, each pair once."""
    found = {
        tuple(sorted((cluster, said.other)))
        for cluster, said in enumerate(advice)
        if said is not None and said.other is not None
    }
    return sorted((one, other) for one, other in found)


def _groups_after(pairs: Sequence[tuple[int, int]], number: int) -> int:
    """How many clusters are left once every pair is one."""
    group = [*range(number)]
    for one, other in pairs:
        joined, gone = group[one], group[other]
        group = [joined if name == gone else name for name in group]
    return len(set(group))


def _by_hand(data: ReportData) -> Iterator[NextStep]:
    if data.items.images is not None:
        yield NextStep(
            "Look at all images, and rename, merge, split and correct clusters by hand. Then make "
            "the corrected result.",
            (_command("review", data.run.folder), _command("apply", data.run.folder)),
        )


def _words(data: ReportData) -> Iterator[NextStep]:
    if data.clustering.words_from is None and data.items.images is not None:
        yield NextStep(
            "Name the clusters with words of your own.",
            (_command("name", data.run.folder, "--words", "WORDS.npz"),),
        )


def _use(data: ReportData) -> Iterator[NextStep]:
    if data.items.images is not None:
        yield NextStep(
            "Get a folder for each cluster; your images stay where they are.",
            (_command("organize", data.run.folder, "SORTED"),),
        )
    new = "NEW_IMAGES" if data.items.images is not None else "NEW_ROWS.npy"
    yield NextStep(f"Sort new {data.items.noun}s.", (_command("predict", data.run.model, new),))


def _again(data: ReportData, option: str, value: str) -> tuple[str, ...]:
    """The commands that train the heads again, and everything after them."""
    folder = data.run.folder
    semi = () if data.setup.semi is None else ("semi",)
    return (
        _command("self", "--run-dir", folder, option, value, "--redo"),
        *(_command(name, "--run-dir", folder) for name in (*semi, "eval", "export")),
    )


def _command(*words: str) -> str:
    return shlex.join(["spice", *words])
