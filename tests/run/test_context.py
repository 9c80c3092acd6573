"""The context: seeds of their own, artifacts read once, policies as configured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spice_keras.errors import UserError
from spice_keras.run.context import Context
from tests.stages.made_run import COUNT, SIDE, make_context


def test_every_purpose_has_a_seed_of_its_own_that_hangs_on_the_runs(tmp_path: Path) -> None:
    purposes = ("pretrain", "pretrain batches", "self", "self batches", "semi", "semi batches")
    contexts = [make_context(tmp_path / name, seed=int(name[0])) for name in ("0a", "1", "0b")]
    seeds = [[context.seed(purpose) for purpose in purposes] for context in contexts]
    assert len({*seeds[0], *seeds[1]}) == 2 * len(purposes)
    assert seeds[0] == seeds[2]
    assert all(0 <= seed < 2**31 for seed in seeds[0])


def test_a_seed_is_the_same_in_every_version(tmp_path: Path) -> None:
    """Written down: another number here makes every published run another one."""
    assert make_context(tmp_path).seed("pretrain") == 1139505913


def test_images_names_and_skipped_files_are_read(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    assert context.images.shape == (COUNT, SIDE, SIDE, 3)
    assert context.ids[0] == "photos/00.png"
    assert context.skipped == [("bad.png", "cut short")]
    assert context.plan.num_images == COUNT


@pytest.mark.parametrize(("limit", "mapped"), [(0, True), (1024, False)])
def test_above_the_limit_images_stay_on_disk(tmp_path: Path, limit: int, mapped: bool) -> None:
    context = make_context(tmp_path, data__memory_limit_mb=limit)
    assert isinstance(context.images, np.memmap) is mapped


def test_without_images_the_command_to_run_is_named(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    context.run.discard("images")
    fresh = Context(context.config, context.run)
    with pytest.raises(UserError, match="spice pretrain --run-dir"):
        _ = fresh.images


def test_rows_of_figures_carry_their_stage(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    context.log("semi", {"epoch": 0, "loss": 1.0})
    assert context.run.metrics("semi") == [{"stage": "semi", "epoch": 0, "loss": 1.0}]


def test_there_are_no_labels_in_it() -> None:
    assert not [name for name in dir(Context) if "label" in name.lower()]
