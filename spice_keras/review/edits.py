"""Edits: what a person decides about clusters and images, one small record each.

A cluster is named by a key: `c0`, `c1`, ... are the run's automatic clusters, `n1`, `n2`, ... those
that a person made. Images are named by the ids of the run, never by row numbers, so that edits
outlive a new run over the same images.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError, field_validator

from spice_keras.options import Options

MOST_PARTS = 5
LONGEST_NAME = 120

Key = Annotated[str, StringConstraints(pattern=r"^[cn](0|[1-9][0-9]{0,8})$")]
ItemId = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


def _one_line(name: str) -> str:
    """Tidy a name; refuse characters that no reader sees."""
    name = " ".join(name.split())
    if any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for char in name):
        raise ValueError("a name holds printable characters only")
    return name


class _Named(Options):
    """An edit that names a cluster."""

    name: Annotated[str, StringConstraints(max_length=LONGEST_NAME)] = ""

    @field_validator("name")
    @classmethod
    def _tidy(cls, name: str) -> str:
        return _one_line(name)


class Rename(_Named):
    """Call a cluster something; an empty name takes its name away."""

    kind: Literal["rename"] = "rename"
    group: Key


class Merge(_Named):
    """Put any number of clusters into one of them, which keeps its name unless one is given."""

    kind: Literal["merge"] = "merge"
    groups: tuple[Key, ...] = Field(min_length=2, max_length=10_000)
    into: Key

    @field_validator("groups")
    @classmethod
    def _distinct(cls, groups: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(groups)) != len(groups):
            raise ValueError("each cluster may stand once among those that are merged")
        return groups


class Part(_Named):
    """Images of a cluster that become a cluster of their own."""

    group: Key
    items: tuple[ItemId, ...] = Field(min_length=1)


class Split(Options):
    """Cut a cluster: some images leave it for new clusters, the rest stays."""

    kind: Literal["split"] = "split"
    group: Key
    parts: tuple[Part, ...] = Field(min_length=1, max_length=MOST_PARTS - 1)


class Move(Options):
    """Put images into a cluster."""

    kind: Literal["move"] = "move"
    items: tuple[ItemId, ...] = Field(min_length=1)
    group: Key


class NewCluster(_Named):
    """Make a cluster of chosen images."""

    kind: Literal["new"] = "new"
    items: tuple[ItemId, ...] = Field(min_length=1)
    group: Key


class Exclude(Options):
    """Leave images out of the result, or take them back."""

    kind: Literal["exclude"] = "exclude"
    items: tuple[ItemId, ...] = Field(min_length=1)
    value: bool = True


class Check(Options):
    """Mark images as checked: they belong where they are. Or take the mark away."""

    kind: Literal["check"] = "check"
    items: tuple[ItemId, ...] = Field(min_length=1)
    value: bool = True


class Distinct(Options):
    """Two clusters are different things: the question is not asked again."""

    kind: Literal["distinct"] = "distinct"
    groups: tuple[Key, Key]


class Whole(Options):
    """A cluster is one thing: it is not proposed for a split again."""

    kind: Literal["whole"] = "whole"
    group: Key


class Undo(Options):
    """Take back the last edit that stands."""

    kind: Literal["undo"] = "undo"


class Redo(Options):
    """Do again what was taken back last."""

    kind: Literal["redo"] = "redo"


Change = Rename | Merge | Split | Move | NewCluster | Exclude | Check | Distinct | Whole
Edit = Annotated[Change | Undo | Redo, Field(discriminator="kind")]

_EDIT: TypeAdapter[Change | Undo | Redo] = TypeAdapter(Edit)


def parse_edit(text: str | bytes) -> Change | Undo | Redo:
    """Read an edit from JSON.

    Args:
        text: One JSON object with `kind` and what that kind needs, nothing else.

    Returns:
        The edit.

    Raises:
        ValueError: If it is not one; the message names the first field that is wrong.
    """
    try:
        return _EDIT.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "edit"
        raise ValueError(f"{place}: {first['msg']}") from None
