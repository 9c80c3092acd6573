"""The sources a configuration names: opened once, to be counted and then to be read."""

from __future__ import annotations

import weakref
from collections.abc import Mapping

from spice_keras.config.protocol import PartCounts, part_config, roles_of
from spice_keras.config.schema import DataConfig
from spice_keras.data.sources import DataSource, SourceOptions, source_class
from spice_keras.options import Role

Sources = Mapping[Role, DataSource]

# Sources that were counted and wait to be read, by the configuration they belong to. They stay
# that of one object: another run may mean another folder by the same words.
_waiting: list[tuple[weakref.ref[DataConfig], Sources]] = []


def source_options(data: DataConfig, role: Role) -> SourceOptions:
    """Return what one part of the data is opened with."""
    part = part_config(data, role)
    return SourceOptions(
        path=part.path or "",
        split=part.split,
        data_dir=part.tfds_dir,
        classes=part.classes,
        label_key=part.label_key,
        image_size=part.image_size,
        fit=part.fit,
        max_pixels=part.max_pixels,
        value_range=part.range,
        sample=part.sample,
    )


def open_sources(data: DataConfig) -> Sources:
    """Open the source of each part, in the order of the rows.

    Raises:
        UserError: If one is missing, or of another kind.
    """
    kind = source_class(data.source)
    return {role: kind.open(source_options(data, role)) for role in roles_of(data)}


def count_sources(data: DataConfig) -> PartCounts | None:
    """Count the items of each part, and keep the opened sources for `take_sources`.

    Args:
        data: The configuration of the data.

    Returns:
        The numbers, duplicates included; None if data must be prepared first.

    Raises:
        UserError: If a source is missing, empty, or of another kind.
    """
    _waiting.clear()
    sources = open_sources(data)
    counts: dict[str, int] = {}
    for role, source in sources.items():
        count = source.count()
        if count is None:
            return None
        counts[role] = count
    _waiting.append((weakref.ref(data, lambda _: _waiting.clear()), sources))
    return PartCounts(**counts)


def take_sources(data: DataConfig) -> Sources:
    """Return the sources to read: those that were counted, so that nothing is listed twice.

    Args:
        data: The configuration of the data. Only this very object has sources that wait, and only
            for one call: whoever reads once more sees what lies there by then.

    Returns:
        The opened source of each part, in the order of the rows.

    Raises:
        UserError: As from `open_sources`.
    """
    waiting = [sources for known, sources in _waiting if known() is data]
    _waiting.clear()
    return waiting[0] if waiting else open_sources(data)
