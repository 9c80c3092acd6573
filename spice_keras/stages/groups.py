"""`spice groups`: how many groups features or a run have, and a run's clusters cut coarser."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from spice_keras.data.embedding_source import read_embeddings_file
from spice_keras.errors import UserError
from spice_keras.files import write_csv, write_json
from spice_keras.groups.candidates import NUM_NEIGHBORS, GridTraining
from spice_keras.groups.changes import Changes, Part, Split
from spice_keras.groups.hierarchy import Hierarchy, merge_clusters
from spice_keras.groups.suggest import GroupCurves, GroupSuggestion, suggest_clusters
from spice_keras.progress import Screen
from spice_keras.report.figures import save_chart
from spice_keras.report.groups import (
    curve_lines,
    groups_chart,
    hierarchy_chart,
    hierarchy_lines,
    suggestion_sentences,
)
from spice_keras.run.configuration import read_run_config
from spice_keras.run.context import Context
from spice_keras.run.directory import RunDirectory
from spice_keras.run.lock import run_lock
from spice_keras.run.results import final_result
from spice_keras.run.store import Embeddings


@dataclass(frozen=True)
class GroupsRequest:
    """What `spice groups` was asked for.

    Attributes:
        source: A run directory, or an .npy/.npz file of embeddings.
        smallest: Smallest number of clusters to try.
        largest: Largest number to try; None for the usual one.
        cut: Groups to merge a run's clusters down to; None to ask how many groups there are.
        seed: Seed of everything drawn.
    """

    source: Path
    smallest: int = 2
    largest: int | None = None
    cut: int | None = None
    seed: int = 0


def report_groups(request: GroupsRequest, screen: Screen) -> list[str]:
    """Do what was asked for.

    Args:
        request: What was asked for.
        screen: Where progress shows.

    Returns:
        Lines for the terminal. In a run directory `groups.json`, `groups.png` and `groups.svg` are
        written; for a cut, `assignments-K.csv`, `hierarchy.png` and `hierarchy.svg`.

    Raises:
        UserError: If the source is neither a run nor embeddings, or the numbers do not suit it.
    """
    context = _context(request.source, screen)
    if context is None:
        return _reported(request, None, screen)
    with run_lock(request.source, screen):
        return _reported(request, context, screen)


def _reported(request: GroupsRequest, context: Context | None, screen: Screen) -> list[str]:
    """Do what was asked for, of a run or of a file."""
    if request.cut is not None:
        if context is None:
            raise UserError(
                f"--cut merges the clusters of a run, and {request.source} is a file of "
                "embeddings; name a run directory."
            )
        return cut_run(context, request.cut)
    if context is None:
        features, noun = read_embeddings_file(request.source).features, "row"
    else:
        features, noun = context.bank.features, "image" if context.has_images else "row"
    found = suggest_clusters(
        features,
        smallest=request.smallest,
        largest=request.largest,
        training=GridTraining(seed=request.seed),
        screen=screen,
    )
    lines = [
        *suggestion_sentences(found, noun),
        "",
        *curve_lines(found.curves, found.num_clusters, found.interval),
    ]
    if context is not None:
        lines += ["", f"Figure  {keep_suggestion(context, found)}"]
    return lines


def _context(source: Path, screen: Screen) -> Context | None:
    """The run in a folder; None for a file."""
    if not source.exists():
        raise UserError(
            f"There is neither a run directory nor a file {source}. Give a folder that `spice run` "
            "has made, or an .npy or .npz file of embeddings."
        )
    if source.is_file():
        return None
    if not RunDirectory.holds_run(source):
        raise UserError(
            f"{source} holds no run. Give a folder that `spice run` has made, or an .npy or .npz "
            "file of embeddings."
        )
    return Context(read_run_config(source), RunDirectory(source), screen)


def keep_suggestion(context: Context, found: GroupSuggestion) -> Path:
    """Write how many groups there are into the run: `groups.json`, and the figure.

    Args:
        context: The run; its embeddings are there.
        found: The suggestion.

    Returns:
        The PNG file.
    """
    facts = {
        "num_clusters": found.num_clusters,
        "interval": found.interval,
        "second": found.second,
        "unclear": found.unclear,
        "changes": asdict(found.changes),
        "curves": asdict(found.curves),
        "features": _fingerprint(context),
    }
    write_json(context.run.path / "groups.json", facts)
    return save_chart(groups_chart(found), context.run.path).path


def kept_suggestion(context: Context) -> GroupSuggestion | None:
    """Read how many groups there are, if that was looked for on the embeddings the run has now.

    Args:
        context: The run; its embeddings are there.

    Returns:
        The suggestion without its clusters, which are not kept; None if there is none.
    """
    path = context.run.path / "groups.json"
    facts = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    if facts.get("features") != _fingerprint(context):
        return None
    changes = facts["changes"]
    splits = tuple(
        Split(cluster, num_items, tuple(Part(*part) for part in parts))
        for cluster, num_items, parts in changes["splits"]
    )
    values = facts["curves"]
    numbers = np.asarray(values.pop("num_clusters"), np.int64)
    curves = GroupCurves(
        numbers, **{name: np.asarray(row, np.float64) for name, row in values.items()}
    )
    return GroupSuggestion(
        num_clusters=facts["num_clusters"],
        interval=tuple(facts["interval"]),
        second=facts["second"],
        unclear=facts["unclear"],
        changes=Changes(**changes | {"splits": splits, "dissolved": tuple(changes["dissolved"])}),
        curves=curves,
        clusters=np.zeros((len(curves.num_clusters), 0), np.int32),
        rows=np.zeros(0, np.int64),
    )


def _fingerprint(context: Context) -> int:
    """Tell the embeddings of this run from others: a checksum of at most 1,000 of them."""
    features = context.bank.features
    rows = np.ascontiguousarray(features[:: -(-len(features) // 1000)])
    return zlib.crc32(rows.tobytes(), len(features))


def cut_run(context: Context, num_groups: int) -> list[str]:
    """Merge the clusters a run ended in, and write the coarser assignment.

    Args:
        context: The run; its training stages are finished.
        num_groups: Groups to leave.

    Returns:
        Lines for the terminal.

    Raises:
        UserError: If the run is not finished, or has no more clusters than that.
    """
    clusters = final_result(context).clusters
    tree = merge_clusters(clusters, context.load(Embeddings).neighbors[:, 1 : 1 + NUM_NEIGHBORS])
    groups = tree.cut(num_groups)
    path = context.run.path / f"assignments-{num_groups}.csv"
    rows = zip(context.ids, groups[clusters].tolist(), clusters.tolist(), strict=True)
    write_csv(path, ["image", "group", "cluster"], rows)
    noun = "image" if context.has_images else "row"
    lines = [*_group_lines(tree, groups, noun), ""]
    if tree.merges:
        save_chart(hierarchy_chart(tree), context.run.path)
        lines += [*hierarchy_lines(tree, noun), ""]
    return [*lines, f"Assignments  {path}"]


def _group_lines(tree: Hierarchy, groups: np.ndarray, noun: str) -> list[str]:
    lines = [f"{tree.num_clusters} clusters joined into {int(groups.max()) + 1} groups:"]
    for group in range(int(groups.max()) + 1):
        members = np.flatnonzero(groups == group)
        items = int(tree.sizes[members].sum())
        listed = ", ".join(map(str, members.tolist()))
        lines.append(f"  {group:>3}  {items:>7,} {noun}s  clusters {listed}")
    return lines
