"""`spice apply`: a corrected run, made of a run and what a person decided about it."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from spice_keras.algorithm.feature_space import FeatureSpace
from spice_keras.config import RunConfig, load_config
from spice_keras.config.protocol import ROLES, stage_rows
from spice_keras.errors import UserError
from spice_keras.files import atomic_folder, write_atomically
from spice_keras.heads.answers import images_that_stay, learn_answers
from spice_keras.heads.inference import head_probabilities
from spice_keras.options import TableFormat
from spice_keras.progress import Screen
from spice_keras.review.effective import Effective, effective
from spice_keras.review.log import EDITS, EditLog
from spice_keras.review.session import start_state
from spice_keras.run.context import Context
from spice_keras.run.directory import RunDirectory
from spice_keras.run.exporting import remove_unnoted_export
from spice_keras.run.networks import Encoder, merged_probabilities
from spice_keras.run.results import final_result, network_clustering
from spice_keras.run.store import (
    Classifier,
    Decisions,
    Embeddings,
    Heads,
    Items,
    Names,
    Reliable,
)
from spice_keras.run.table import refuse_missing_pyarrow
from spice_keras.stages.evaluate import evaluate
from spice_keras.stages.export import export
from spice_keras.stages.held_out import classify_test
from spice_keras.stages.name import names_of
from spice_keras.stages.reliable import select_reliable
from spice_keras.words.naming import ClusterName

_BELIEF = 1e-3  # of every cluster, before any answer: none is out of the question


@dataclass(frozen=True)
class Applied:
    """What `spice apply` made.

    Attributes:
        path: The corrected run.
        saved_model: Its SavedModel.
        changed: Images whose cluster is another than the automatic one, the excluded ones apart.
        learned: Images that no person placed and that the retrained head put elsewhere.
        lost: What no longer applies, one sentence an edit.
    """

    path: Path
    saved_model: Path
    changed: int
    learned: int
    lost: tuple[str, ...]


def apply_edits(
    context: Context,
    target: Path,
    *,
    edits: Path | None = None,
    keep: bool = False,
    table: TableFormat | None = None,
) -> Applied:
    """Make a corrected run: its clusters, names, tables, report and SavedModel.

    Merged clusters are merged in the model. If a cluster was cut or images were placed, the head is
    retrained on the cached features with those images as fixed labels, and images that no person
    placed take the cluster it gives them.

    Args:
        context: A finished run; it stays as it is.
        target: Folder of the corrected run; one that this function made is replaced.
        edits: The file of edits; None for that of the run.
        keep: Leave every image where the review page shows it, whatever the retrained head says.
        table: How the table of items is written; None for as the run says.

    Returns:
        What was made.

    Raises:
        UserError: If there are no edits, they leave fewer than two clusters, or the run or the
            folder does not allow it.
    """
    _refuse(target)
    table = table or context.config.evaluate.table
    if table == "parquet":
        refuse_missing_pyarrow()
    log = EditLog(_edits_file(context, edits), start_state(context))
    if not log.current.done:
        raise UserError(f"No edit in {log.path} stands. Make some with spice review.")
    found = effective(log.state)
    kept = np.flatnonzero(found.clusters >= 0)
    if found.num_clusters < 2:
        raise UserError(
            f"The edits leave {found.num_clusters} cluster, and a run has at least two. Undo a "
            "merge in spice review first."
        )
    remove_unnoted_export(RunDirectory(target))
    with atomic_folder(target) as folder:
        made = _Corrected(context, found, kept, keep, table, folder)
        made.write()
    corrected = Context(made.config, RunDirectory(target), context.screen)
    if corrected.config.data.protocol == "split":
        classify_test(corrected)
    evaluate(corrected)
    saved = export(corrected)
    after = final_result(corrected).clusters
    shown = found.clusters[kept]
    return Applied(
        target,
        saved,
        int(np.count_nonzero(np.array(found.keys)[after] != _automatic_keys(log, kept))),
        int(np.count_nonzero(after != shown)),
        tuple(f"edit {entry.number} ({entry.edit.kind}): {why}" for entry, why in log.current.lost),
    )


def _automatic_keys(log: EditLog, kept: np.ndarray) -> np.ndarray:
    return np.array([f"c{cluster}" for cluster in log.start.automatic[kept].tolist()])


def _edits_file(context: Context, edits: Path | None) -> Path:
    path = context.run.path / EDITS if edits is None else edits
    if not path.is_file():
        raise UserError(
            f"There are no edits in {path}. Make some with `spice review {context.run.path}`, or "
            "name a file with --edits."
        )
    return path


def _refuse(target: Path) -> None:
    if target.exists() and not RunDirectory(target).has(Decisions.name):
        raise UserError(
            f"{target} is there and was not made by spice apply. Name another folder with --output."
        )


@dataclass(frozen=True, eq=False)
class _Corrected:
    """Writes the artifacts of a corrected run."""

    source: Context
    found: Effective
    kept: np.ndarray
    keep: bool
    table: TableFormat
    folder: Path

    @property
    def learns(self) -> bool:
        return self.found.merge is None

    @property
    def config(self) -> RunConfig:
        """The run's configuration with the clusters that are left."""
        old = self.source.config
        overrides: dict[str, Any] = {
            "num_clusters": self.found.num_clusters,
            "name": f"{old.name[:55]}-reviewed",
            "evaluate.table": self.table,
        }
        if self.learns:
            overrides["semi.enabled"] = False
        return load_config(base=old.as_dict(), overrides=overrides)

    def write(self) -> None:
        """Write everything that evaluation and export read."""
        text = yaml.safe_dump(self.config.as_dict(), sort_keys=False, allow_unicode=True)
        write_atomically(self.folder / "config.yaml", text.encode())
        run = RunDirectory(self.folder)
        (self.folder / "checkpoints").mkdir()
        for name in ("environment.json", "plan.json", "skipped.csv", "metrics.jsonl"):
            if (self.source.run.path / name).is_file():
                shutil.copy2(self.source.run.path / name, self.folder / name)
        context = Context(self.config, run, self.source.screen)
        if self.source.has_images:
            run.adopt(Encoder.name, self.source.run)
        self._items(context)
        self._embeddings(context)
        decided = self._heads(context)
        if self.config.semi.enabled:
            self._classifier(context)
        context.save(decided)
        self._reliable(context, decided.clusters)
        context.save(self._names(context))

    def _items(self, context: Context) -> None:
        if len(self.kept) == len(self.source.ids):
            context.run.adopt(Items.name, self.source.run)
            return
        old, stays = self.source.load(Items), self._stays()
        ids = [old.ids[row] for row in stays]
        with context.writing(Items) as folder:
            features = None if old.features is None else old.features[stays]
            if self.source.has_images:
                pixels = Items.pixels_file(self.source.folder(Items))
                _copy_rows(np.load(pixels, mmap_mode="r"), stays, Items.pixels_file(folder))
            replace(old, ids=ids, features=features, parts=self._parts(stays)).save(folder)

    def _stays(self) -> np.ndarray:
        """The rows of all parts that stay: of those that are not clustered, all."""
        config = self.source.config
        stages = stage_rows(
            self.source.counts, config.data.protocol, extra_in_semi=config.semi.use_extra
        )
        stays = np.ones(self.source.counts.total, bool)
        stays[stages.clustered] = False
        stays[stages.clustered.start + self.kept] = True
        return np.flatnonzero(stays)

    def _parts(self, stays: np.ndarray) -> dict[str, int | None]:
        """How many images of each part stay, beside what else is noted of the parts."""
        found = dict(self.source.load(Items).parts)
        if found:
            sizes = [getattr(self.source.counts, role) for role in ROLES]
            stops = np.searchsorted(stays, np.cumsum(sizes))
            counts = np.diff(stops, prepend=0).tolist()
            found |= {
                role: count for role, count in zip(ROLES, counts, strict=True) if role in found
            }
        return found

    def _embeddings(self, context: Context) -> None:
        old, space = self.source.load(Embeddings), self.source.space
        unscaled = self.learns and space.scale == "none"
        if len(self.kept) == len(self.source.ids) and not unscaled:
            context.run.adopt(Embeddings.name, self.source.run)
            return
        features = self.source.bank.features[self.kept]
        space = FeatureSpace("unit") if unscaled else space
        count = min(old.neighbors.shape[1], len(features))
        rows = context.similarity_rows(features, space)
        neighbors = context.neighbor_search(rows, count)
        given = None if old.features is None else np.asarray(features)
        context.save(Embeddings(neighbors, given, space=space))

    def _heads(self, context: Context) -> Decisions:
        """Write the head, merged or retrained; return who placed what."""
        words = tuple(self.found.decisions[row] for row in self.kept)
        decided = np.where(self.found.fixed, self.found.clusters, -1)[self.kept]
        old = self.source.load(Heads)
        if not self.learns:
            merge = np.asarray(self.found.merge, np.int32)
            merged = merged_probabilities(old.probabilities[self.kept], merge.tolist())
            clusters = merged.argmax(axis=1).astype(np.int32)
            heads = replace(
                old, probabilities=merged, assignments=clusters[None], unrefined=None, histories={}
            )
            with context.writing(Heads) as folder:
                heads.save(folder)
                np.save(Heads.merge_file(folder), merge, allow_pickle=False)
                moved = Heads.encoder_folder(self.source.folder(Heads))
                if moved.is_dir():
                    shutil.copytree(moved, Heads.encoder_folder(folder))
            return Decisions(decided.astype(np.int32), words)
        weights, probabilities = self._taught(context)
        clusters = probabilities.argmax(axis=1).astype(np.int32)
        context.save(
            Heads(probabilities, clusters[None], 0, 0, None, [weight[None] for weight in weights])
        )
        if self.keep:
            decided = self.found.clusters[self.kept]
        return Decisions(decided.astype(np.int32), words)

    def _taught(self, context: Context) -> tuple[list[np.ndarray], np.ndarray]:
        """Retrain the head with everything a person placed as fixed labels."""
        bank = context.bank
        placed, clusters = self.found.fixed[self.kept], self.found.clusters[self.kept]
        automatic = network_clustering(self.source).clusters[self.kept]
        stay = images_that_stay(bank.normalized, automatic, clusters, placed)
        fixed = np.sort(np.concatenate([np.flatnonzero(placed), stay]))
        taught = learn_answers(
            bank.normalized,
            context.load(Embeddings).neighbors[:, 1:],
            self._prior(),
            fixed,
            clusters[fixed],
        )
        # The head reads unit rows times sqrt(D).
        weights = [taught.kernel / math.sqrt(bank.features.shape[1]), taught.bias]
        said = head_probabilities(bank.features, weights, context.space)
        return weights, said.astype(np.float32)

    def _prior(self) -> np.ndarray:
        """What was believed of each image: the automatic probabilities, in the clusters as shown.

        Each automatic cluster's probability goes where most of its images are now.
        """
        old = network_clustering(self.source).probabilities
        automatic, count = old.argmax(axis=1), self.found.num_clusters
        prior = np.full((len(self.kept), count), _BELIEF)
        for cluster in range(old.shape[1]):
            now = self.found.clusters[automatic == cluster]
            now = now[now >= 0]
            if len(now):
                place = np.bincount(now, minlength=count).argmax()
                prior[:, place] += old[self.kept, cluster]
        return prior / prior.sum(axis=1, keepdims=True)

    def _classifier(self, context: Context) -> None:
        old, merge = self.source.load(Classifier), np.asarray(self.found.merge)
        with context.writing(Classifier) as folder:
            for file in self.source.folder(Classifier).glob("network.*"):
                shutil.copy2(file, folder / file.name)
            merged = merged_probabilities(old.probabilities[self.kept], merge.tolist())
            Classifier(merged, old.embeddings[self.kept]).save(folder)
            np.save(Classifier.merge_file(folder), merge, allow_pickle=False)

    def _reliable(self, context: Context, decided: np.ndarray) -> None:
        """Reliable labels as ever, and what a person placed: SPICE-Semi may learn from both."""
        select_reliable(context)
        found = context.load(Reliable)
        labels = np.full(len(self.kept), -1, np.int32)
        labels[found.indices] = found.labels
        placed = decided >= 0
        labels[placed] = decided[placed]
        indices = np.flatnonzero(labels >= 0)
        context.save(replace(found, indices=indices, labels=labels[indices]))

    def _names(self, context: Context) -> Names:
        has_names = self.source.run.has(Names.name)
        old = self.source.load(Names) if has_names else names_of(self.source)
        names = []
        for key, name, named in zip(
            self.found.keys, self.found.names, self.found.named, strict=True
        ):
            if not named and key.startswith("c"):
                names.append(old.names[int(key[1:])])
            elif name:
                names.append(ClusterName(name))
            else:
                names.append(ClusterName(None, reason="A person gave it no name."))
        return replace(old, names=tuple(names))


def _copy_rows(images: np.ndarray, rows: np.ndarray, path: Path) -> None:
    shape = (len(rows), *images.shape[1:])
    copied = np.lib.format.open_memmap(path, mode="w+", dtype=images.dtype, shape=shape)
    for start in range(0, len(rows), 256):
        copied[start : start + 256] = images[rows[start : start + 256]]
    copied.flush()


def default_target(run_dir: Path) -> Path:
    """Return where the corrected run of a run goes."""
    return run_dir.parent / f"{run_dir.name}-reviewed"


def told(applied: Applied, screen: Screen) -> None:
    """Say what was done."""
    for sentence in applied.lost:
        screen.warn(f"no longer applies: {sentence}.")
    screen.say(f"apply: {applied.changed} images are in another cluster than before.")
    if applied.learned:
        screen.say(
            f"apply: {applied.learned} of them no person placed; the head that learned from your "
            "decisions did. --keep leaves every image where the review page shows it."
        )
