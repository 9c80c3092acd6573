"""A finished run under review: its images, its clustering, its edits, and what is asked of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from spice_keras.clustering.kmeans import kmeans_clusters
from spice_keras.errors import UserError
from spice_keras.report.unusual import Unusual
from spice_keras.review.edits import MOST_PARTS, Change, Part, Redo, Split, Undo, parse_edit
from spice_keras.review.find import Columns, find
from spice_keras.review.log import EDITS, EditLog, Entry
from spice_keras.review.queue import Question, Questions
from spice_keras.review.state import DECISIONS, CannotApply, ReviewState
from spice_keras.run.context import Context
from spice_keras.run.results import center_distances, final_result
from spice_keras.run.store import Names
from spice_keras.stages.figures import embedding_map
from spice_keras.stages.unusual import find_unusual

Sorting = Literal["confidence", "distance", "name", "order"]
NEAREST = 30
_COVERS = 4
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Look:
    """Which images are listed, and in what order.

    Attributes:
        of: `all`, `excluded`, `duplicates`, `outliers`, `undecided`, or `group:KEY`.
        query: Terms that each image must match; see `find`.
        sort: What they are sorted by; `order` is that of the run.
        descending: Whether the largest comes first.
    """

    of: str = "all"
    query: str = ""
    sort: str = "order"
    descending: bool = False


def start_state(context: Context) -> ReviewState:
    """Return the run's automatic result, before any edit.

    Raises:
        UserError: If the run is not finished.
    """
    clusters = final_result(context).clusters
    names = context.load(Names).texts if context.run.has(Names.name) else ()
    return ReviewState(context.ids, clusters, context.config.num_clusters, names)


class ReviewSession:
    """A run and its edits; any number of threads may ask.

    Args:
        context: A finished run with images.

    Raises:
        UserError: If the run has no images, is not finished, or its edits are damaged.
    """

    def __init__(self, context: Context) -> None:
        if not context.has_images:
            raise UserError(
                f"{context.run.path} was made of embeddings, and a review shows images. Review a "
                "run that began with --images."
            )
        self.context = context
        self.result = final_result(context)
        self.log = EditLog(context.run.path / EDITS, start_state(context))
        self.questions = Questions(
            self.result.embeddings, context.bank.neighbors[:, 1:], self.result.probabilities
        )
        self._lock = threading.RLock()
        self._distances: tuple[int, np.ndarray] | None = None

    @property
    def state(self) -> ReviewState:
        """The clusters as they stand, others' edits included."""
        self.log.refresh()
        return self.log.state

    def image(self, row: int) -> npt.NDArray[np.uint8]:
        """Return one image, uint8 [S, S, 3]."""
        return np.asarray(self.context.images[row])

    @cached_property
    def unusual(self) -> Unusual:
        """Near-duplicates and outliers."""
        return self._once(lambda: find_unusual(self.context))

    @cached_property
    def map(self) -> dict[str, list[float]]:
        """A sample of the images in the plane: rows, and x and y in [0, 1]."""
        placed = self._once(lambda: embedding_map(self.context, self.result.embeddings))
        points = placed.points - placed.points.min(axis=0)
        points = points / np.maximum(points.max(axis=0), 1e-9)
        x, y = np.round(points.T, 4).tolist()
        return {"rows": placed.indices.tolist(), "x": x, "y": y}

    def _once(self, make: Callable[[], _Made]) -> _Made:
        """Make something that several ask for at once, one at a time."""
        with self._lock:
            return make()

    def distances(self) -> npt.NDArray[np.float64]:
        """Return the cosine distance of each image from the centre of its cluster."""
        state, version = self.state, self.log.version
        with self._lock:
            if self._distances is None or self._distances[0] != version:
                found = center_distances(self.result.embeddings, state.places)
                self._distances = version, found
            return self._distances[1]

    def columns(self) -> Columns:
        """Return what a search can compare."""
        state = self.state
        names = np.array([state.groups[k].name if k in state.groups else "" for k in state.keys])
        keys = np.array(state.keys)
        return Columns(
            {
                "image": np.array(state.ids),
                "name": names[state.places],
                "cluster": keys[state.places],
                "decision": np.array(DECISIONS)[state.decisions],
            },
            {
                "confidence": self.result.confidence,
                "distance": self.distances(),
                "reliable": self.result.reliable.astype(int),
                "agrees": self.result.agrees.astype(int),
                "excluded": state.excluded.astype(int),
            },
        )

    def listed(self, look: Look) -> npt.NDArray[np.int64]:
        """Return the rows of the images that are asked for.

        Raises:
            ValueError: If the list, the sorting or the query is none.
            CannotApply: If there is no such cluster.
        """
        state = self.state
        if look.sort not in get_args(Sorting):
            raise ValueError(f"sort by one of {', '.join(get_args(Sorting))}")
        rows, ordered = self._rows_of(look.of, state)
        if look.query.strip():
            rows = rows[find(look.query, self.columns())[rows]]
        if look.sort == "order":
            return rows[::-1] if look.descending and not ordered else rows
        if look.sort == "name":
            values = np.array([state.ids[row] for row in rows])
        else:
            values = (self.result.confidence if look.sort == "confidence" else self.distances())[
                rows
            ]
        order = np.argsort(values, kind="stable")
        return rows[order[::-1] if look.descending else order]

    def _rows_of(self, of: str, state: ReviewState) -> tuple[npt.NDArray[np.int64], bool]:
        """The rows of a list, and whether they come in an order of their own."""
        kind, _, key = of.partition(":")
        if kind == "group":
            return state.members(key), False
        if of == "duplicates":
            order = np.argsort(self.unusual.groups, kind="stable")
            return order[self.unusual.groups[order] >= 0], True
        if of == "outliers":
            return self.unusual.outliers, True
        masks = {
            "all": ~state.excluded,
            "excluded": state.excluded,
            "undecided": ~state.excluded & (state.decisions == 0),
        }
        if of not in masks:
            raise ValueError(f"there is no list {of}")
        return np.flatnonzero(masks[of]), False

    def nearest(self, row: int) -> list[int]:
        """Return the images most like one, nearest first, itself not among them."""
        similar = self.result.embeddings @ self.result.embeddings[row]
        similar[row] = -np.inf
        count = min(NEAREST, len(similar) - 1)
        top = np.argpartition(-similar, count - 1)[:count] if count else np.empty(0, int)
        return top[np.argsort(-similar[top], kind="stable")].tolist()

    def described(self, row: int) -> dict[str, Any]:
        """Describe one image: where it is, how sure that is, what it is like."""
        state = self.state
        second = np.argsort(-self.result.probabilities[row], kind="stable")[:2].tolist()
        return {
            "row": row,
            "image": state.ids[row],
            "group": state.key_of(row),
            "automatic": f"c{state.automatic[row]}",
            "confidence": float(self.result.confidence[row]),
            "second": f"c{second[-1]}",
            "second_probability": float(self.result.probabilities[row, second[-1]]),
            "distance": float(self.distances()[row]),
            "reliable": bool(self.result.reliable[row]),
            "excluded": bool(state.excluded[row]),
            "decision": DECISIONS[state.decisions[row]],
            "nearest": self.nearest(row),
        }

    def overview(self) -> dict[str, Any]:
        """Describe all clusters, and what can be undone."""
        state, current = self.state, self.log.current
        counts = state.counts()
        groups = [self._group(key, counts[key], state) for key in state.groups]
        return {
            "version": self.log.version,
            "total": len(state.ids),
            "excluded": state.num_excluded,
            "decided": int(np.count_nonzero((state.decisions > 0) & ~state.excluded)),
            "groups": groups,
            "can_undo": bool(current.done or current.lost),
            "can_redo": bool(current.undone),
            "lost": [[entry.number, entry.edit.kind, reason] for entry, reason in current.lost],
        }

    def _group(self, key: str, count: int, state: ReviewState) -> dict[str, Any]:
        members = state.members(key)
        surest = members[np.argsort(-self.result.confidence[members], kind="stable")[:_COVERS]]
        return {
            "key": key,
            "name": state.groups[key].name,
            "count": count,
            "decided": int(np.count_nonzero(state.decisions[members])),
            "confidence": float(self.result.confidence[members].mean()) if count else None,
            "covers": surest.tolist(),
        }

    def shares(self) -> dict[str, Any]:
        """Return each image's cluster, confidence and reliability, for the map's colours."""
        state = self.state
        return {
            "version": self.log.version,
            "keys": state.keys,
            "places": np.where(state.excluded, -1, state.places).tolist(),
            "confidence": np.round(self.result.confidence, 3).tolist(),
            "reliable": self.result.reliable.astype(int).tolist(),
        }

    def parts(self, key: str, count: int) -> list[list[int]]:
        """Cut a cluster into parts of alike images, the largest first; nothing is changed.

        Raises:
            ValueError: If the number of parts is not from 2 to 5, or there are too few images.
            CannotApply: If there is no such cluster.
        """
        if not 2 <= count <= MOST_PARTS:
            raise ValueError(f"a cluster is cut into 2 to {MOST_PARTS} parts")
        members = self.state.members(key)
        if len(members) < count:
            raise ValueError(f"{len(members)} images cannot be cut into {count} parts")
        found = kmeans_clusters(
            self.result.embeddings[members], count, seed=self.context.seed("split"), num_init=4
        )
        cut = [members[found == part] for part in range(count)]
        cut = [part for part in sorted(cut, key=len, reverse=True) if len(part)]
        return [part.tolist() for part in cut]

    def asked(self) -> list[Question]:
        """Return the questions whose answers settle most."""
        return self.questions.of(self.state)

    def edit(self, wish: dict[str, Any]) -> Entry:
        """Do what the page asks for: an edit that names images by their rows.

        Args:
            wish: `kind` and its fields, `rows` in place of `items`; for a split, lists of rows as
                `parts`, the first of which stays.

        Returns:
            The edit as it was written down.

        Raises:
            ValueError: If it is not an edit.
            CannotApply: If it does not fit the clusters as they stand.
        """
        fields = dict(wish)
        if "rows" in fields:
            fields["items"] = self._ids(fields.pop("rows"))
        state = self.state
        if fields.get("kind") == "new":
            fields["group"] = state.free_key(self._highest())
        if fields.get("kind") == "split":
            return self.log.append(self._split(fields, state))
        return self.log.append(parse_edit(json.dumps(fields)))

    def _highest(self) -> int:
        """The highest number a cluster made by hand ever had, so that none means two things."""
        made = [0]
        for entry in self.log.entries:
            edit: Change | Undo | Redo = entry.edit
            keys = [part.group for part in edit.parts] if isinstance(edit, Split) else []
            group = getattr(edit, "group", "")
            made += [int(key[1:]) for key in (*keys, group) if key.startswith("n")]
        return max(made)

    def _split(self, fields: dict[str, Any], state: ReviewState) -> Split:
        parts, group = fields.get("parts"), fields.get("group")
        if not isinstance(parts, list) or not 2 <= len(parts) <= MOST_PARTS:
            raise ValueError(f"parts: a split has from 2 to {MOST_PARTS} lists of rows")
        if set(fields) != {"kind", "group", "parts"} or not isinstance(group, str):
            raise ValueError("split: expected group and parts, nothing else")
        ids = [self._ids(part) for part in parts]
        listed = sorted(item for part in ids for item in part)
        if listed != sorted(state.ids[row] for row in state.members(group)):
            raise CannotApply("the cluster has changed since the parts were shown")
        first = int(state.free_key(self._highest())[1:])
        made = [
            Part(group=f"n{first + place}", items=tuple(items))
            for place, items in enumerate(ids[1:])
        ]
        return Split(group=group, parts=tuple(made))

    def _ids(self, rows: Any) -> list[str]:
        ids: Sequence[str] = self.log.start.ids
        whole = isinstance(rows, list) and all(type(row) is int for row in rows)
        if not whole or not all(0 <= row < len(ids) for row in rows):
            raise ValueError(f"rows: expected a list of whole numbers below {len(ids)}")
        return [ids[row] for row in rows]
