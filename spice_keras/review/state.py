"""The clusters as they stand after some edits; every edit leaves each image counted once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import singledispatchmethod

import numpy as np
import numpy.typing as npt

from spice_keras.review.edits import (
    Change,
    Check,
    Distinct,
    Exclude,
    Merge,
    Move,
    NewCluster,
    Rename,
    Split,
    Whole,
)

DECISIONS = ("", "checked", "moved", "new", "split")
"""What a person decided about an image, apart from leaving it out."""


class CannotApply(Exception):
    """An edit does not fit the clusters as they stand; the message says why, in one sentence."""


@dataclass(frozen=True)
class Group:
    """A cluster under review.

    Attributes:
        key: `c3` for the run's cluster 3, `n1` for one that a person made.
        name: What it is called, "" if nothing.
        named: Whether a person gave the name.
        whole: Whether a person said that it is one thing.
    """

    key: str
    name: str = ""
    named: bool = False
    whole: bool = False


class ReviewState:
    """Clusters, images and decisions after some edits.

    Args:
        ids: The images, each once.
        clusters: The run's automatic clusters. Shape: (num_images,).
        num_clusters: How many there are, empty ones included.
        names: What they are called, "" for one without a name; nothing at all without words.

    Attributes:
        groups: The clusters by key, in the order they came.
        places: int32, the place in `keys` of each image's cluster; of excluded images too, which
            return there. Shape: (num_images,).
        excluded: bool, whether an image is left out. Shape: (num_images,).
        decisions: int8, the place in `DECISIONS` of what was decided. Shape: (num_images,).
        distinct: Pairs of clusters that a person told apart.
        went: The cluster into which each one went that was merged away.

    Example:
        >>> import numpy as np
        >>> from spice_keras.review.edits import Merge
        >>> state = ReviewState(["a", "b", "c"], np.array([0, 1, 2]), 3)
        >>> state.apply(Merge(groups=("c0", "c2"), into="c0"))
        >>> state.counts()
        {'c0': 2, 'c1': 1}
    """

    def __init__(
        self,
        ids: Sequence[str],
        clusters: np.ndarray,
        num_clusters: int,
        names: Sequence[str] = (),
    ) -> None:
        self.ids = ids
        self.automatic: npt.NDArray[np.int32] = np.asarray(clusters, np.int32)
        self.num_clusters = num_clusters
        given = [*names, *[""] * (num_clusters - len(names))]
        self.groups = {f"c{k}": Group(f"c{k}", given[k]) for k in range(num_clusters)}
        self.keys = list(self.groups)
        self.places = self.automatic.copy()
        self.excluded = np.zeros(len(ids), bool)
        self.decisions = np.zeros(len(ids), np.int8)
        self.distinct: set[frozenset[str]] = set()
        self.went: dict[str, str] = {}
        self._rows: dict[str, int] | None = None

    def copy(self) -> ReviewState:
        """Return the same state, to go on from without changing this one."""
        other = object.__new__(ReviewState)
        other.__dict__.update(self.__dict__)
        other.groups, other.keys = dict(self.groups), list(self.keys)
        other.distinct, other.went = set(self.distinct), dict(self.went)
        for name in ("places", "excluded", "decisions"):
            setattr(other, name, getattr(self, name).copy())
        return other

    @property
    def row_of(self) -> dict[str, int]:
        """The row of each id."""
        if self._rows is None:
            self._rows = {name: row for row, name in enumerate(self.ids)}
        return self._rows

    def rows(self, items: Iterable[str]) -> npt.NDArray[np.int64]:
        """Return the rows of some images.

        Raises:
            CannotApply: If an id is not in the run.
        """
        found = [self.row_of.get(item, -1) for item in items]
        missing = found.count(-1)
        if missing:
            raise CannotApply(f"{missing} of its {len(found)} images are not in this run")
        return np.array(found, np.int64)

    def members(self, key: str) -> npt.NDArray[np.int64]:
        """Return the rows of a cluster, without excluded images."""
        return np.flatnonzero((self.places == self._place(key)) & ~self.excluded)

    def counts(self) -> dict[str, int]:
        """Count the images of each cluster, without excluded ones."""
        sizes = np.bincount(self.places[~self.excluded], minlength=len(self.keys))
        return {key: int(sizes[place]) for place, key in enumerate(self.keys) if key in self.groups}

    @property
    def num_excluded(self) -> int:
        """How many images are left out."""
        return int(np.count_nonzero(self.excluded))

    def key_of(self, row: int) -> str:
        """Return the cluster of an image."""
        return self.keys[self.places[row]]

    def free_key(self, beyond: int = 0) -> str:
        """Return a key that no cluster has had, with a number above `beyond`."""
        used = [int(key[1:]) for key in self.keys if key[0] == "n"]
        return f"n{max([beyond, *used]) + 1}"

    def _place(self, key: str) -> int:
        if key not in self.groups:
            raise CannotApply(f"there is no cluster {key} any more")
        return self.keys.index(key)

    def _add(self, key: str, name: str) -> int:
        if key[0] != "n" or key in self.keys:
            raise CannotApply(f"{key} cannot be the key of a new cluster")
        self.keys.append(key)
        self.groups[key] = Group(key, name, bool(name))
        return len(self.keys) - 1

    def _put(self, rows: np.ndarray, place: int, decision: str) -> None:
        self.places[rows] = place
        self.excluded[rows] = False
        self.decisions[rows] = DECISIONS.index(decision)

    @singledispatchmethod
    def apply(self, edit: Change) -> None:
        """Change the clusters as an edit says, or leave them as they are.

        Args:
            edit: Any edit but undo and redo.

        Raises:
            CannotApply: If it does not fit; nothing has changed.
        """
        raise TypeError(f"Expected an edit that changes clusters. Received: {edit!r}")

    @apply.register
    def _(self, edit: Rename) -> None:
        self._place(edit.group)
        group = self.groups[edit.group]
        self.groups[edit.group] = replace(group, name=edit.name, named=True)

    @apply.register
    def _(self, edit: Merge) -> None:
        if edit.into not in edit.groups:
            raise CannotApply("the cluster that is kept must be among those that are merged")
        places = [self._place(key) for key in edit.groups]
        kept = self._place(edit.into)
        self.places[np.isin(self.places, places)] = kept
        if edit.name:
            self.groups[edit.into] = replace(self.groups[edit.into], name=edit.name, named=True)
        for key in edit.groups:
            if key != edit.into:
                del self.groups[key]
                self.went[key] = edit.into
        # What was said of a cluster that is now larger no longer holds.
        self.groups[edit.into] = replace(self.groups[edit.into], whole=False)
        self.distinct = {pair for pair in self.distinct if not pair & set(edit.groups)}

    @apply.register
    def _(self, edit: Split) -> None:
        place = self._place(edit.group)
        found = [self.rows(part.items) for part in edit.parts]
        together = np.concatenate(found)
        if len(np.unique(together)) != len(together):
            raise CannotApply("an image stands in two parts")
        if (self.places[together] != place).any():
            raise CannotApply(f"an image of a part is not in cluster {edit.group}")
        self._refuse_keys([part.group for part in edit.parts])
        rest = self.members(edit.group)
        self.decisions[rest] = DECISIONS.index("split")
        for part, rows in zip(edit.parts, found, strict=True):
            self._put(rows, self._add(part.group, part.name), "split")
        self.distinct = {pair for pair in self.distinct if edit.group not in pair}

    def _refuse_keys(self, keys: Sequence[str]) -> None:
        if len(set(keys)) != len(keys) or any(k[0] != "n" or k in self.keys for k in keys):
            raise CannotApply("a new cluster needs a key of its own")

    @apply.register
    def _(self, edit: Move) -> None:
        self._put(self.rows(edit.items), self._place(edit.group), "moved")

    @apply.register
    def _(self, edit: NewCluster) -> None:
        rows = self.rows(edit.items)
        self._put(rows, self._add(edit.group, edit.name), "new")

    @apply.register
    def _(self, edit: Exclude) -> None:
        self.excluded[self.rows(edit.items)] = edit.value

    @apply.register
    def _(self, edit: Check) -> None:
        rows = self.rows(edit.items)
        checked = DECISIONS.index("checked")
        if edit.value:
            rows = rows[self.decisions[rows] == 0]
            self.decisions[rows] = checked
        else:
            self.decisions[rows[self.decisions[rows] == checked]] = 0

    @apply.register
    def _(self, edit: Distinct) -> None:
        pair = frozenset(edit.groups)
        if len(pair) < 2:
            raise CannotApply("two clusters are needed")
        for key in pair:
            self._place(key)
        self.distinct.add(pair)

    @apply.register
    def _(self, edit: Whole) -> None:
        self._place(edit.group)
        self.groups[edit.group] = replace(self.groups[edit.group], whole=True)
