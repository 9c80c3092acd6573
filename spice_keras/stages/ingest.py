"""Images into the run directory, decoded and brought to one size; or embeddings, checked."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from spice_keras.config import make_plan
from spice_keras.config.protocol import PartCounts, part_prefix
from spice_keras.config.schema import DataConfig
from spice_keras.data.embedding_source import EmbeddingSource
from spice_keras.data.image_store import TooManySkipped, write_images
from spice_keras.data.parted_source import Part, PartedSource
from spice_keras.data.sources import DataSource, Decoded, ImageSource, SkippedFile
from spice_keras.files import json_text, write_atomically, write_csv
from spice_keras.progress import Task
from spice_keras.run.context import Context
from spice_keras.run.sources import Sources, take_sources
from spice_keras.run.store import Items

_MOST_LINES = 1000  # of the decoders, in the log
_LARGE = 2**30  # bytes of embeddings from which on room and time are spoken of


def parted_source(data: DataConfig, sources: Sources) -> PartedSource:
    """Put the parts of a data set behind one another.

    Args:
        data: The configuration of the data.
        sources: The opened source of each part.

    Returns:
        One source of all images.
    """
    parts = []
    for role, source in sources.items():
        if not isinstance(source, ImageSource):
            raise TypeError(f"The source {data.source!r} gives no images. Received: {source!r}")
        parts.append(Part(role, source, part_prefix(data, role)))
    return PartedSource(parts, duplicates_of="test" if data.deduplicate else None)


class _Counted:
    """A source that moves a bar as its items pass."""

    def __init__(self, source: ImageSource, task: Task) -> None:
        self._source, self._task = source, task
        self.image_size = source.image_size

    def __len__(self) -> int:
        return len(self._source)

    def items(self) -> Iterator[Decoded | SkippedFile]:
        """Yield the items, counting them."""
        for item in self._source.items():
            self._task.advance()
            yield item


class _Lines(logging.Handler):
    """Keeps what the decoders say, up to a bound."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []
        self.num_more = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line, or count it."""
        if len(self.lines) < _MOST_LINES:
            self.lines.append(record.getMessage())
        else:
            self.num_more += 1


@contextmanager
def _decoding_log(context: Context) -> Iterator[None]:
    """Write what the decoders say into `decoding.log`, and show the first of it."""
    logger, handler = logging.getLogger("spice_keras.decoding"), _Lines()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        if handler.lines:
            more = [f"and {handler.num_more} more lines"] if handler.num_more else []
            text = "\n".join([*handler.lines, *more]) + "\n"
            path = context.run.path / "decoding.log"
            write_atomically(path, text.encode("utf-8", "backslashreplace"))
            context.screen.say(
                f"{handler.lines[0]}"
                if len(handler.lines) == 1
                else f"{path} holds {len(handler.lines)} lines of the decoders; the first: "
                f"{handler.lines[0]}"
            )


def _list_skipped(context: Context, skipped: Sequence[SkippedFile]) -> None:
    rows = [(file.path, file.reason) for file in skipped]
    write_csv(context.run.path / "skipped.csv", ["path", "reason"], rows)


def ingest(context: Context) -> None:
    """Read the source and write the artifact `images`: pixels or features, names, files left out.

    Args:
        context: The run.

    Raises:
        UserError: If there is nothing to read, too many bad files, or too few for the clusters; or
            if labels are asked for that the source cannot have.
    """
    data = context.config.data
    sources = take_sources(data)
    if not data.gives_no_labels:
        for role, source in sources.items():
            if role != "extra":  # its images are never judged
                source.check_labels()
    if context.has_images:
        _ingest_images(context, parted_source(data, sources))
    else:
        _ingest_embeddings(context, sources["train"])
    keep_plan(context)
    for note in context.plan.notes:
        context.screen.warn(note)


def keep_plan(context: Context) -> None:
    """Write the arithmetic of the run, unless the file has it already."""
    path = context.run.path / "plan.json"
    text = json_text(context.plan.as_dict()).encode()
    if not path.is_file() or path.read_bytes() != text:
        write_atomically(path, text)


def keep_skipped(context: Context) -> None:
    """Write skipped.csv again if it is missing."""
    if not (context.run.path / "skipped.csv").is_file():
        _list_skipped(context, [SkippedFile(*each) for each in context.skipped])


def _ingest_embeddings(context: Context, source: DataSource) -> None:
    if not isinstance(source, EmbeddingSource):
        raise TypeError(f"Expected a source of embeddings. Received: {source!r}")
    with context.writing(Items) as folder:
        found = source.read(Items.features_file(folder))
        make_plan(context.config, len(found.ids))  # or leave nothing behind
        features = found.features
        _say_large(context, features)
        Items(list(found.ids), [], found.content_hash, features=features).save(folder)
    _list_skipped(context, [])
    context.screen.say(f"embeddings: {found.features.shape[0]} x {found.features.shape[1]}.")


def _say_large(context: Context, features: np.ndarray) -> None:
    """Say what many embeddings ask of the disk, and how to spend less time on them."""
    data = context.config.data
    if features.nbytes < _LARGE or data.sample is not None:
        return
    way = ""
    if Path(data.path or "").is_dir():  # of shards: a file is read whole
        way = " --sample 200000 trains heads on a draw of them and sorts the others shard by shard."
    context.screen.warn(
        f"{features.shape[0]:,} x {features.shape[1]} embeddings take "
        f"{features.nbytes / 2**30:.1f} GiB in the run directory; while it works, the run keeps "
        f"as much again in a file there.{way}"
    )


def _say_parts(context: Context, source: PartedSource) -> None:
    if len(source.counts) < 2:
        return
    counts = ", ".join(f"{count} {role}" for role, count in source.counts.items())
    left_out = ""
    if context.config.data.deduplicate:
        left_out = f"; {source.num_duplicates} extra ones left out, the same as a test image"
    context.screen.say(f"images: {counts}{left_out}. Protocol {context.config.data.protocol}.")


def _ingest_images(context: Context, source: PartedSource) -> None:
    data = context.config.data
    with (
        context.screen.task("images", len(source)) as task,
        context.writing(Items) as folder,
    ):
        try:
            with _decoding_log(context):
                stored = write_images(
                    _Counted(source, task),
                    Items.pixels_file(folder),
                    max_skipped_share=data.max_skipped_share,
                )
        except TooManySkipped as error:
            _list_skipped(context, error.skipped)
            raise
        source.check_parts()
        make_plan(context.config, PartCounts(**source.counts))  # or leave nothing behind
        parts: dict[str, int | None] = {}
        if len(source.counts) > 1:
            duplicates = source.num_duplicates if data.deduplicate else None
            parts = {**source.counts, "duplicates_removed": duplicates}
        skipped = [(file.path, file.reason) for file in stored.skipped]
        levels = source.levels.as_dict() if source.levels is not None else {}
        Items(list(stored.ids), skipped, stored.content_hash, parts, levels=levels).save(folder)
    _say_parts(context, source)
    _list_skipped(context, stored.skipped)
    if stored.skipped:
        context.screen.warn(
            f"{len(stored.skipped)} of {len(source)} files were skipped; "
            f"{context.run.path / 'skipped.csv'} lists them."
        )
