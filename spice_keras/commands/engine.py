"""What the commands that write shards take from the command line, and how they write them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import click

from spice_keras.commands.request import taken
from spice_keras.errors import UserError
from spice_keras.extras import require_extra
from spice_keras.options import Engine
from spice_keras.progress import Screen

if TYPE_CHECKING:
    from spice_keras.engines.recipes import Recipe
    from spice_keras.shards.folder import Manifest
    from spice_keras.shards.writing import ShardPlan

_ROWS, _MAX_SKIPPED = 10_000, 0.2


class _Part(click.ParamType):
    """`I/N`: which of N machines this is."""

    name = "I/N"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        first, _, last = str(value).partition("/")
        if first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last):
            return int(first), int(last)
        self.fail(f"{value!r} must be I/N with 1 <= I <= N, for example 2/8.", param, ctx)


@dataclass(frozen=True)
class EngineRequest:
    """What writes shards, and which; an option that was not given is None.

    Attributes:
        engine: This process, or the actors of a Ray cluster.
        workers: How many actors.
        rows: Images of a shard.
        part: Which of N machines this is.
        max_skipped: Share of a shard's files that may fail to decode.
    """

    engine: Engine | None
    workers: int | None
    rows: int | None
    part: tuple[int, int] | None
    max_skipped: float | None

    def refuse_without_engine(self) -> None:
        """Refuse options that say how shards are written if none are."""
        given = [
            name
            for name in ("workers", "rows", "part", "max_skipped")
            if getattr(self, name) is not None
        ]
        if given:
            option = f"--{given[0].replace('_', '-')}"
            raise UserError(
                f"{option} says how tables are written in shards: it needs --engine local or "
                "--engine ray, with a SOURCE and a folder OUT."
            )

    def check(self) -> None:
        """Refuse an engine that is not installed, before anything heavy is imported."""
        if self.engine == "ray":
            require_extra(
                "ray", "ray", purpose="--engine ray", otherwise="use one process: --engine local"
            )

    def plan(self) -> ShardPlan:
        """Return how the source is cut, and what is done here."""
        from spice_keras.shards.writing import ShardPlan

        if self.workers is not None and self.engine != "ray":
            raise UserError("--workers says how many actors --engine ray has. Add --engine ray.")
        if self.part is not None and self.engine == "ray":
            raise UserError(
                "--part shares the work among machines without an engine, and --engine ray does "
                "that by itself. Leave one of them out."
            )
        return ShardPlan(
            self.rows or _ROWS,
            self.part or (1, 1),
            _MAX_SKIPPED if self.max_skipped is None else self.max_skipped,
        )


_OPTIONS = (
    click.option(
        "--engine",
        type=click.Choice(get_args(Engine)),
        help="Write shards in this process, or with the actors of a Ray cluster.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        help="Actors of --engine ray; default: one on each machine.",
    ),
    click.option(
        "--rows", type=click.IntRange(min=1), help=f"Images of a shard; default: {_ROWS}."
    ),
    click.option(
        "--part", type=_Part(), help="Of every N shards only the I-th: one of N machines."
    ),
    click.option(
        "--max-skipped",
        type=click.FloatRange(0.0, 1.0),
        help=f"Share of a shard's files that may fail to decode; default: {_MAX_SKIPPED}.",
    ),
)


def engine_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add how shards are written; the command gets it as one `EngineRequest`, named `how`."""

    @functools.wraps(command)
    def with_request(**given: Any) -> None:
        command(how=taken(EngineRequest, given), **given)

    for option in reversed(_OPTIONS):
        option(with_request)
    return with_request


def write_with_engine(
    recipe: Recipe, how: EngineRequest, screen: Screen, *, name: str, what: str
) -> None:
    """Write the shards of a folder that are missing, and say what came of it.

    TensorFlow is started already, as the recipe asks.

    Args:
        recipe: Makes what writes a shard.
        how: The engine.
        screen: Where things are said.
        name: Of the command.
        what: What the shards hold, in the plural; a fact of the folder in braces.
    """
    manifest = _written(recipe, how, screen, name)
    if manifest is None:
        screen.say(f"{name}: the shards of this part are written; other parts are missing.")
        return
    skipped = sum(int(shard.facts.get("skipped", 0)) for shard in manifest.shards)
    if skipped:
        screen.warn(
            f"{skipped} items gave no image; shard-*.skipped.json in {manifest.folder} lists them."
        )
    screen.say(
        f"{name}: {manifest.rows:,} {what.format_map(manifest.facts)} in "
        f"{len(manifest.shards)} shards, in {manifest.folder}"
    )


def _written(recipe: Recipe, how: EngineRequest, screen: Screen, name: str) -> Manifest | None:
    from spice_keras.shards.writing import write_shards

    writer, part = recipe.open(), recipe.plan.part
    items = int(writer.folder.facts["items"])
    with screen.task(name, items // part[1]) as task:
        if how.engine != "ray":
            return write_shards(writer, part, task.advance)
        from spice_keras.engines.ray_data import write_shards_with_ray

        return write_shards_with_ray(recipe, writer, workers=how.workers, advance=task.advance)
