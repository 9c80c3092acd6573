"""`spice groups`: the answer about a run and about a file, and the coarser assignment."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from spice_keras.cli import main
from spice_keras.errors import UserError
from spice_keras.groups.suggest import suggest_clusters
from spice_keras.progress import silent_screen
from spice_keras.run.context import Context
from spice_keras.stages.groups import (
    GroupsRequest,
    keep_suggestion,
    kept_suggestion,
    report_groups,
)
from spice_keras.stages.reliable import select_reliable
from tests.stages.made_run import COUNT, make_context, truth, write_heads


@pytest.fixture
def run(tmp_path: Path) -> Context:
    context = make_context(tmp_path, semi__enabled=False)
    write_heads(context, truth())
    select_reliable(context)
    return context


def ask(source: Path, **asked: int) -> list[str]:
    return report_groups(GroupsRequest(source, **asked), silent_screen())


def test_a_run_gets_an_answer_a_figure_and_the_numbers(run: Context) -> None:
    folder = run.run.path
    lines = ask(folder, largest=3)
    assert "groups" in lines[0]
    assert "from 2 to 3" in lines[0] or "between 2 and 3" in lines[0]
    assert lines[-1] == f"Figure  {folder / 'groups.png'}"
    assert (folder / "groups.svg").is_file()
    facts = json.loads((folder / "groups.json").read_text("utf-8"))
    assert facts["num_clusters"] == 3
    assert facts["curves"]["num_clusters"] == [2, 3]
    assert len(facts["curves"]["score"]) == 2
    assert facts["interval"][0] <= 3 <= facts["interval"][1]


def test_a_cut_joins_the_clusters_of_a_run(run: Context) -> None:
    folder = run.run.path
    lines = ask(folder, cut=2)
    assert lines[0] == "3 clusters joined into 2 groups:"
    assert lines[-1] == f"Assignments  {folder / 'assignments-2.csv'}"
    assert (folder / "hierarchy.png").is_file()
    with (folder / "assignments-2.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == run.ids
    assert [int(row["cluster"]) for row in rows] == truth().tolist()
    pairs = {(row["cluster"], row["group"]) for row in rows}
    assert len(pairs) == 3
    assert {group for _, group in pairs} == {"0", "1"}
    assert len(rows) == COUNT


def test_no_more_groups_than_clusters(run: Context) -> None:
    with pytest.raises(UserError, match=r"between 1 and 3 groups.*Received: 4"):
        ask(run.run.path, cut=4)


def test_the_command_reads_a_file_of_embeddings(tmp_path: Path) -> None:
    rows = np.eye(3, 5)[np.arange(60) % 3] + 0.05 * np.random.default_rng(0).normal(size=(60, 5))
    np.save(tmp_path / "rows.npy", rows.astype(np.float32))
    done = CliRunner().invoke(main, ["groups", str(tmp_path / "rows.npy"), "--to", "4", "--quiet"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("About 3 groups. No other number between 2 and 4")
    assert ">   3" in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.npy"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent", "neither a run directory nor a file"),
        (".", "holds no run"),
        ("rows.npy", "--cut merges the clusters of a run"),
    ],
)
def test_refuses_what_is_neither(tmp_path: Path, name: str, message: str) -> None:
    np.save(tmp_path / "rows.npy", np.eye(4, dtype=np.float32))
    with pytest.raises(UserError, match=message):
        ask(tmp_path / name, cut=2)


def test_a_range_upside_down_is_one_sentence(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(50, 4)))
    command = ["groups", str(tmp_path / "rows.npy"), "--from", "5", "--to", "3"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert done.output.count("Error: ") == 1
    assert "from 5 to 3" in done.output


def test_what_was_counted_is_read_again_unless_the_embeddings_are_others(run: Context) -> None:
    assert kept_suggestion(run) is None
    found = suggest_clusters(run.bank.features, largest=3)
    keep_suggestion(run, found)
    kept = kept_suggestion(run)
    assert kept is not None
    assert (kept.num_clusters, kept.interval, kept.second, kept.unclear, kept.changes) == (
        found.num_clusters, found.interval, found.second, found.unclear, found.changes,
    )  # fmt: skip
    for name, values in vars(found.curves).items():
        np.testing.assert_array_equal(getattr(kept.curves, name), values)
    path = run.run.path / "groups.json"
    facts = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(facts | {"features": 1}), "utf-8")
    assert kept_suggestion(run) is None
