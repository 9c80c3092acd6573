"""The shards of a folder that are missing, written and checked in this process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spice_keras.errors import UserError
from spice_keras.shards.folder import Manifest, ShardFolder, shard_name

Advance = Callable[[int], object]
"""Is told how many items were done."""


@dataclass(frozen=True)
class ShardPlan:
    """How a source is cut into shards, and which of them are written here.

    Attributes:
        rows_per_shard: Items of a shard, those that give nothing included; at least 1.
        part: `(i, n)`: of every n shards the i-th alone, i from 1: what one of n machines does.
        max_skipped_share: Share of a shard's items, in 0..1, that may give no image.
    """

    rows_per_shard: int = 10_000
    part: tuple[int, int] = (1, 1)
    max_skipped_share: float = 0.2

    def refuse_too_many(self, skipped: Sequence[tuple[str, str]], count: int) -> None:
        """Refuse a shard of which too many items give no image.

        Args:
            skipped: Those, with the reasons.
            count: Items of the shard.

        Raises:
            UserError: If they are more than `max_skipped_share`.
        """
        if len(skipped) <= self.max_skipped_share * count:
            return
        name, reason = skipped[0]
        raise UserError(
            f"{len(skipped)} of {count} items gave no image; at most "
            f"{self.max_skipped_share:.0%} may. First: {name}: {reason}. Remove or repair them, or "
            "raise --max-skipped."
        )


class ShardWriter(ABC):
    """Writes any shard of a folder; holds the model and the source that this takes.

    Args:
        folder: Where.
    """

    def __init__(self, folder: ShardFolder) -> None:
        self.folder = folder

    @abstractmethod
    def write(self, number: int, advance: Advance) -> None:
        """Write one shard.

        Args:
            number: Of the shard, from 0.
            advance: Is told how many items were done.
        """

    @abstractmethod
    def check_source(self) -> None:
        """Refuse a source that is not what it was at the beginning.

        Raises:
            UserError: If it changed.
        """

    def write_missing(self, number: int, advance: Advance) -> None:
        """Write one shard unless it is there: what was begun elsewhere may have been finished.

        Args:
            number: Of the shard, from 0.
            advance: Is told how many items were done.
        """
        if not self.folder.holds(number):
            self.write(number, advance)


def write_shards(
    writer: ShardWriter, part: tuple[int, int] = (1, 1), advance: Advance = lambda _: None
) -> Manifest | None:
    """Write the shards that are missing, one after the other, and check all of the part.

    Args:
        writer: Writes a shard.
        part: `(i, n)`: of every n shards the i-th alone, i from 1.
        advance: Is told how many items were done.

    Returns:
        The manifest; None if other machines' shards are missing.

    Raises:
        UserError: If the source changed meanwhile, or a shard stays damaged.
    """

    def write(numbers: Sequence[int]) -> None:
        for number in numbers:
            writer.write_missing(number, advance)

    folder = writer.folder
    write(folder.missing(part))
    writer.check_source()
    first, count = part
    finish_sound(
        folder,
        write,
        lambda: [n for n in range(first - 1, folder.num_shards, count) if not folder.is_sound(n)],
    )
    return folder.finish()


def finish_sound(
    folder: ShardFolder,
    write: Callable[[Sequence[int]], object],
    unsound: Callable[[], Sequence[int]],
) -> None:
    """Write the shards once more whose files are not those that were written.

    Args:
        folder: The shards.
        write: Writes some of them.
        unsound: Lists those that are damaged.

    Raises:
        UserError: If one is damaged again.
    """
    damaged = unsound()
    if not damaged:
        return
    for number in damaged:
        folder.forget(number)
    write(damaged)
    still = unsound()
    if still:
        raise UserError(
            f"{folder.path / shard_name(still[0])} is damaged again after it was written a second "
            "time. Check the disk, or what else writes there, and give the command once more."
        )
