"""A finished run brought up to a source that changed: what is new is embedded and assigned.

The encoder, the heads and SPICE-Semi's network stay as they were trained. Items that the run knows
keep what it said of them; for the others the same networks are asked.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from spice_keras.augment.policies import Policy, build_policy
from spice_keras.errors import UserError
from spice_keras.files import link_or_copy, write_json
from spice_keras.heads.selection import head_logits
from spice_keras.run.context import Context
from spice_keras.run.directory import Damaged, RunDirectory
from spice_keras.run.networks import Encoder, classified, head_encoder, pretrained_encoder
from spice_keras.run.networks import semi_network as trained_network
from spice_keras.run.store import Classifier, Decisions, Embeddings, Heads, Items, Reliable
from spice_keras.run.update import UPDATES, commit, past_updates, staging
from spice_keras.stages.embed import neighbors_in, view_features
from spice_keras.stages.ingest import ingest
from spice_keras.stages.reliable import select_reliable
from spice_keras.stages.source_check import names_rows, row_digest, source_state
from spice_keras.training.encoding import encode_images

_NEW = -1


@dataclass(frozen=True)
class Match:
    """Which items of a source a run knows.

    Attributes:
        known: int64 [N], the run's row of each item of the source; -1 for one that is new or has
            changed.
        added: Items the run did not have.
        changed: Items whose content is another.
        removed: Items of the run that are gone.
        moved: Items that stand in another row, or have another name.
    """

    known: np.ndarray
    added: int
    changed: int
    removed: int
    moved: int

    @property
    def is_equal(self) -> bool:
        """Whether the source holds just what the run does."""
        return not (self.added or self.changed or self.removed or self.moved)

    def __str__(self) -> str:
        text = f"{self.added} added, {self.changed} changed, {self.removed} removed"
        return f"{text}, {self.moved} in another place" if self.moved else text


def match_items(
    ids: Sequence[str],
    rows: Sequence[bytes],
    new_ids: Sequence[str],
    new_rows: Sequence[bytes],
    *,
    named: bool = True,
) -> Match:
    """Find the items that a run knows among those of a source.

    Args:
        ids: Names of the run's items, in order.
        rows: Their digests, from `row_digest`.
        new_ids: Names of the items the source has now.
        new_rows: Their digests.
        named: Whether items have names of their own. Otherwise a name is only the number of a row,
            and an item is known by its content wherever it stands.

    Returns:
        What is known of each. An item that is new under its name, but not in its content, is added
        and known all the same: nothing need be computed for it.

    Example:
        >>> found = match_items(["a", "b"], [b"1", b"2"], ["b", "c"], [b"3", b"1"])
        >>> found.known.tolist(), str(found)
        ([-1, 0], '1 added, 1 changed, 1 removed, 1 in another place')
    """
    place = {name: row for row, name in enumerate(ids)}
    by_content: dict[bytes, list[int]] = defaultdict(list)
    for row, digest in enumerate(rows):
        by_content[digest].append(row)
    known = np.full(len(new_ids), _NEW, np.int64)
    taken = np.zeros(len(ids), bool)
    for number, (name, digest) in enumerate(zip(new_ids, new_rows, strict=True)):
        row = place.get(name, _NEW)
        if row != _NEW and rows[row] == digest:
            known[number], taken[row] = row, True
    for number, digest in enumerate(new_rows):
        if known[number] == _NEW and digest in by_content:
            free = [row for row in by_content[digest] if not taken[row]]
            known[number] = (free or by_content[digest])[0]
            if free:
                taken[free[0]] = True
    if named:
        there = np.array([name in place for name in new_ids], bool)
        changed = sum(
            rows[place[name]] != digest
            for name, digest in zip(new_ids, new_rows, strict=True)
            if name in place
        )
        added, removed = int((~there).sum()), len(ids) - int(there.sum())
    else:
        fresh = int((known == _NEW).sum()) + _used_twice(known)
        gone = int((~taken).sum())
        in_place = set(np.flatnonzero(known[: len(ids)] == _NEW)) & set(np.flatnonzero(~taken))
        changed = len(in_place)
        added, removed = fresh - changed, gone - changed
    moved = sum(row not in (_NEW, number) for number, row in enumerate(known.tolist()))
    return Match(known, added, changed, removed, moved)


def _used_twice(known: np.ndarray) -> int:
    """Items that repeat the content of one the run had once."""
    rows = known[known != _NEW]
    return len(rows) - len(np.unique(rows))


def update(context: Context) -> Match:
    """Bring a run up to its source. Evaluation and export are left to be made again.

    Args:
        context: The run, trained to its end; the caller holds its lock.

    Returns:
        What changed.

    Raises:
        UserError: If the run is not finished or damaged, has parts, is a sample of shards or was
            corrected by a person; or if the source does not allow it.
    """
    _refuse(context)
    state = source_state(context)
    staged = staging(context.run, context.config, state)
    new = Context(context.config, staged, context.screen)
    if not staged.has(Items.name):
        ingest(new)
    match = _match(context, new)
    if match.is_equal:
        context.screen.say("update: the source holds just what the run was made of.")
    else:
        _refuse_moved_edits(context, new, match)
        _stage(context, new, match)
        _note(context, new, match)
        names = [kind.name for kind in _artifacts(context)]
        commit(context.run, staged, [Encoder.name, *names] if context.has_images else names)
        computed = int((match.known == _NEW).sum())
        noun = "images" if context.has_images else "items"
        context.screen.say(
            f"update: {match}; {computed} {noun} were assigned by the trained "
            f"{'network' if context.config.semi.enabled else 'head'}, of {len(match.known)}."
        )
    return match


def _artifacts(context: Context) -> list[type[Items | Embeddings | Heads | Reliable | Classifier]]:
    """What an update makes anew, in order."""
    found: list[type[Items | Embeddings | Heads | Reliable | Classifier]]
    found = [Items, Embeddings, Heads, Reliable]
    return [*found, Classifier] if context.config.semi.enabled else found


def _refuse(context: Context) -> None:
    """Refuse what cannot be updated, before anything is read.

    Raises:
        UserError: With what to do instead.
    """
    run, data = context.run, context.config.data
    if context.config.data.protocol != "whole" or data.has_test or data.has_extra:
        why = "its data has several parts"
    elif data.sample is not None:
        why = "its heads were trained on a sample of shards, whose rows are all sorted anyway"
    elif run.has(Decisions.name):
        why = "a person corrected it (update the run it was made of, then `spice apply` again)"
    elif not all(run.has(kind.name) for kind in _artifacts(context)):
        why = "its training has not come to its end"
    else:
        why = None
    if why is not None:
        raise UserError(
            f"{run.path} cannot be updated: {why}. Begin a new run in another folder (--run-dir), "
            "or sort new items with `spice predict`."
        )
    try:
        for kind in _artifacts(context):
            context.folder(kind)
        if context.has_images:
            run.read(Encoder.name, written_by=Encoder.command)
    except Damaged as error:
        raise UserError(
            f"{error.reason}, and an update needs it whole. Put back the source as it was and run "
            f"`spice repair {run.path}`, or begin a new run in another folder (--run-dir)."
        ) from error


def _match(context: Context, new: Context) -> Match:
    old = context.load(Items)
    rows = [[row_digest(row) for row in _content(one)] for one in (context, new)]
    named = names_rows(context)
    return match_items(old.ids, rows[0], new.load(Items).ids, rows[1], named=named)


def _content(context: Context) -> np.ndarray:
    """What items are compared by."""
    return context.images if context.has_images else context.given_features


def _refuse_moved_edits(context: Context, new: Context, match: Match) -> None:
    """Refuse to give other numbers to rows that a person has decided about.

    Raises:
        UserError: If edits of a review name rows by number, and these have moved.
    """
    edits = context.run.path / "edits.jsonl"
    if names_rows(context) or not edits.is_file():
        return
    if match.moved or match.changed or match.removed:
        raise UserError(
            f"{edits} names rows of {context.config.data.path} by their numbers, and these are "
            f"other items now ({match}). Save the array with an array `ids` and begin a new run, "
            "or move the edits away and update again."
        )


def _stage(context: Context, new: Context, match: Match) -> None:
    """Make the artifacts of the updated run that are not staged yet."""
    steps: list[tuple[str, Callable[[], None]]] = [
        (Embeddings.name, lambda: _embeddings(context, new, match)),
        (Heads.name, lambda: _heads(context, new, match)),
        (Reliable.name, lambda: select_reliable(new)),
    ]
    if context.has_images:
        _adopt_encoder(context.run, new.run)
    if context.config.semi.enabled:
        steps.append((Classifier.name, lambda: _classifier(context, new, match)))
    for name, make in steps:
        if not new.run.has(name):
            make()


def _adopt_encoder(run: RunDirectory, staged: RunDirectory) -> None:
    """Take the encoder over as it is; its manifest then belongs to the new images."""
    staged.adopt(Encoder.name, run)
    digest = staged.digest(Encoder.name)
    staged.mend_manifest(Encoder.name, [digest] if digest else [])


def _merged_rows(
    match: Match, old: np.ndarray, ask: Callable[[np.ndarray], np.ndarray], axis: int = 0
) -> np.ndarray:
    """Rows that are known, as they were; for the others what is answered about their numbers."""
    fresh = np.flatnonzero(match.known == _NEW)
    found = np.take(np.asarray(old), np.maximum(match.known, 0), axis=axis)
    if len(fresh):
        places: list[slice | np.ndarray] = [slice(None)] * found.ndim
        places[axis] = fresh
        found[tuple(places)] = ask(fresh)
    return found


def _embeddings(context: Context, new: Context, match: Match) -> None:
    """Encode what is new, in the space the heads know, and find everyone's neighbours."""
    old, space = context.load(Embeddings), context.space
    if old.features is None:
        new.save(Embeddings(neighbors_in(new, new.given_features, space), space=space))
        return
    encoder = pretrained_encoder(new)

    def encoded(rows: np.ndarray) -> np.ndarray:
        with new.screen.task("embed", len(rows)) as task:
            return encode_images(encoder, np.asarray(new.images[rows]), task=task)

    features = _merged_rows(match, old.features, encoded)
    section = context.config.self_labeling
    with new.writing(Embeddings) as folder:
        Embeddings(neighbors_in(new, features, space), features, space=space).save(folder)
        for kind, views, policy in (
            ("weak", old.weak, build_policy(section.weak)),
            ("strong", old.strong, build_policy(section.strong)),
        ):
            if views is not None:
                seeds = [new.seed(f"{kind} view {n} of an update") for n in range(len(views))]
                seen = partial(_seen, new, encoder, policy, seeds)
                merged = _merged_rows(match, views, seen, axis=1)
                np.save(Embeddings.views_file(folder, kind), merged, allow_pickle=False)


def _seen(
    new: Context, encoder: keras.Model, policy: Policy, seeds: Sequence[int], rows: np.ndarray
) -> np.ndarray:
    """Features of augmented copies of some of the new images."""
    return view_features(encoder, np.asarray(new.images[rows]), policy, seeds)


def _heads(context: Context, new: Context, match: Match) -> None:
    """Ask the heads as they were trained about what is new."""
    old = context.load(Heads)
    if old.head is None:
        raise ValueError("The artifact `heads` of a run names the head that was chosen.")
    moved = Heads.encoder_folder(context.folder(Heads))
    logits: list[np.ndarray] = []

    def asked(rows: np.ndarray) -> np.ndarray:
        if moved.is_dir():
            features = encode_images(head_encoder(context), np.asarray(new.images[rows]))
        else:
            features = np.asarray(new.bank.features[rows])
        logits.append(head_logits(old.classifier(context.space), features))
        return np.asarray(tf.nn.softmax(logits[0][old.head]))

    probabilities = _merged_rows(match, old.probabilities, asked)
    assignments = _merged_rows(
        match, old.assignments, lambda _: logits[0].argmax(axis=2).astype(np.int32), axis=1
    )
    histories = {
        phase: {name: rows for name, rows in arrays.items() if name not in ("assignments", "kept")}
        for phase, arrays in old.histories.items()
    }
    heads = replace(
        old,
        probabilities=probabilities,
        assignments=assignments,
        unrefined=None,
        histories=histories,
    )
    with new.writing(Heads) as folder:
        heads.save(folder)
        if moved.is_dir():
            _copied(moved, Heads.encoder_folder(folder))


def _copied(source: Path, target: Path) -> None:
    shutil.copytree(source, target, copy_function=link_or_copy)


def _classifier(context: Context, new: Context, match: Match) -> None:
    """Ask SPICE-Semi's network about what is new."""
    old, answers = context.load(Classifier), list[Classifier]()
    network: keras.Model = trained_network(context)

    def asked(rows: np.ndarray) -> np.ndarray:
        answers.append(classified(network, np.asarray(new.images[rows])))
        return answers[0].probabilities

    probabilities = _merged_rows(match, old.probabilities, asked)
    embeddings = _merged_rows(match, old.embeddings, lambda _: answers[0].embeddings)
    with new.writing(Classifier) as folder:
        for file in context.folder(Classifier).glob("network.*"):
            link_or_copy(str(file), str(folder / file.name))
        Classifier(probabilities, embeddings).save(folder)


def _note(context: Context, new: Context, match: Match) -> None:
    """Write down what this update does, beside those before it."""
    facts = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "items_before": len(context.ids),
        "items": len(match.known),
        "added": match.added,
        "changed": match.changed,
        "removed": match.removed,
    }
    write_json(new.run.path / UPDATES, [*past_updates(context.run), facts])
