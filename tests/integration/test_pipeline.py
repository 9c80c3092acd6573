"""What a run keeps, does again and forgets, seen by the files it leaves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from spice_keras import RunConfig, load_config, run_stages
from spice_keras.errors import UserError
from tests.integration.conftest import QUICK, Finished, Quick, unverified
from tests.integration.tiny import metrics, snapshot, write_tiny

_ALL = ("pretrain", "self", "semi", "eval", "export")
_STAGES = [
    "images", "pretrain", "embed", "self", "reliable", "semi", "name", "eval", "export"
]  # fmt: skip
_ARTIFACTS = [
    "images", "encoder", "embeddings", "heads", "reliable", "classifier", "names",
    "evaluation", "export",
]  # fmt: skip


def _config(**overrides: Any) -> RunConfig:
    options = {name.replace("__", "."): value for name, value in overrides.items()}
    return load_config("tiny.yaml", overrides=QUICK | options)


@pytest.fixture
def run(quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run to be written to, in a folder of its own with its data."""
    monkeypatch.chdir(shutil.copytree(quick.folder, tmp_path / "copy"))
    unverified(monkeypatch)
    return Path("run")


def _manifests(run: Path) -> dict[str, int]:
    """When each artifact that is there was finished, in the order of the stages."""
    times = {name: run / "artifacts" / name / "manifest.json" for name in _ARTIFACTS}
    return {name: path.stat().st_mtime_ns for name, path in times.items() if path.is_file()}


def _remade(before: dict[str, int], run: Path) -> list[str]:
    return [name for name, time in _manifests(run).items() if before.get(name) != time]


def _forget(run: Path, artifacts: Sequence[str]) -> None:
    for name in artifacts:
        shutil.rmtree(run / "artifacts" / name)


def _timings(run: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads((run / "timings.json").read_text("utf-8"))
    return found


def _logged(run: Path) -> list[str]:
    """The stages whose epochs are logged, in the order of the log."""
    lines = (run / "metrics.jsonl").read_text("utf-8").splitlines()
    return list(dict.fromkeys(json.loads(line)["stage"] for line in lines))


def test_everything_runs_once_in_order(finished: Finished) -> None:
    times = _manifests(finished.run)
    assert list(times) == _ARTIFACTS
    assert sorted(times.values()) == list(times.values())
    assert list(_timings(finished.run)) == _STAGES
    assert _logged(finished.run) == ["pretrain", "self", "refine", "semi"]


def test_without_semi_it_is_passed_over(quick: Quick) -> None:
    assert list(_timings(quick.heads)) == [name for name in _STAGES if name != "semi"]
    assert list(_manifests(quick.heads)) == [name for name in _ARTIFACTS if name != "classifier"]


def test_what_was_judged_before_a_stage_was_trained_is_judged_again(quick: Quick) -> None:
    heads, run = _manifests(quick.heads), quick.run
    assert _remade(heads, run) == ["classifier", "names", "evaluation", "export"]
    assert metrics(quick.heads)["semi"] is None
    assert metrics(run)["semi"] is not None
    pages = [(path / "report.html").read_text("utf-8") for path in (quick.heads, run)]
    assert ["Training curves of SPICE-Semi" in page for page in pages] == [False, True]
    assert (run / "config.yaml").read_text("utf-8") != (quick.heads / "config.yaml").read_text(
        "utf-8"
    )


def test_what_is_finished_is_not_done_again(run: Path) -> None:
    before = snapshot(run)
    run_stages(_config(), run, commands=_ALL, resume=True)
    after = snapshot(run)
    # The stamp of the source, which lies elsewhere for this copy, is written again.
    assert {name: at for name, at in after.items() if name != "source.json"} == {
        name: at for name, at in before.items() if name != "source.json"
    }


def test_what_is_finished_is_not_overwritten(run: Path) -> None:
    _forget(run, _ARTIFACTS[2:])
    before = snapshot(run)
    with pytest.raises(UserError, match=r"already holds pretrain .*--resume.*--run-dir"):
        run_stages(_config(), run, commands=_ALL)
    assert snapshot(run) == before


def test_no_accuracy_is_expected_of_heads_on_an_encoder_that_was_trained_here(
    quick: Quick,
) -> None:
    """Such embeddings are not among those the expectation was fitted or tried on."""
    assert metrics(quick.heads)["expected_accuracy"] is None
    selection = json.loads((quick.heads / "artifacts/heads/selection.json").read_text("utf-8"))
    assert "temperature" not in selection


def test_images_alone_are_no_obstacle_and_times_add_up(run: Path) -> None:
    _forget(run, _ARTIFACTS[1:])
    (run / "timings.json").write_text('{"pretrain": 100.0}', encoding="utf-8")
    before = _manifests(run)
    run_stages(_config(), run, commands=("pretrain",))
    assert _remade(before, run) == ["encoder"]
    assert _timings(run).keys() == {"pretrain"}
    assert _timings(run)["pretrain"] >= 100.0


def test_judging_can_be_repeated_at_any_time(run: Path) -> None:
    before = _manifests(run)
    run_stages(_config(), run, commands=("eval",))
    assert _remade(before, run) == ["names", "evaluation"]
    run_stages(_config(), run, commands=("export",))
    assert _remade(before, run) == ["names", "evaluation", "export"]


@pytest.mark.parametrize(
    ("command", "again", "left", "logged"),
    [
        ("pretrain", ["encoder"], 2, ["pretrain"]),
        ("self", ["heads", "reliable"], 5, ["pretrain", "self"]),
        ("semi", ["classifier"], 6, ["pretrain", "self", "semi"]),
    ],
)
def test_redoing_a_stage_forgets_what_was_made_of_it(
    run: Path, command: str, again: list[str], left: int, logged: list[str]
) -> None:
    before = _manifests(run)
    run_stages(_config(), run, commands=(command,), redo=True)
    assert _remade(before, run) == again
    assert list(_manifests(run)) == _ARTIFACTS[:left]
    assert _logged(run) == logged
    for name in ("report.html", "metrics.json", "assignments.csv", "figures"):
        assert not (run / name).exists()


def test_one_pretraining_serves_for_heads_of_another_kind(run: Path) -> None:
    other, before = _config(self__num_heads=2), _manifests(run)
    begun = (run / "config.yaml").read_bytes()
    with pytest.raises(UserError, match="spice self --redo"):
        run_stages(other, run, commands=("self",), resume=True)
    assert _manifests(run) == before
    assert (run / "config.yaml").read_bytes() == begun
    run_stages(other, run, commands=("self",), redo=True)
    assert _remade(before, run) == ["heads", "reliable"]
    assert yaml.safe_load((run / "config.yaml").read_text("utf-8")) == other.as_dict()
    assert list(_manifests(run)) == _ARTIFACTS[:5]


def test_heads_that_need_other_embeddings_get_them(run: Path) -> None:
    before = _manifests(run)
    other = _config(reliable__num_neighbors=7)
    run_stages(other, run, commands=("self",), redo=True)
    assert _remade(before, run) == ["embeddings", "heads", "reliable"]


def test_the_resolved_configuration_is_plain_yaml(quick: Quick) -> None:
    values = yaml.safe_load((quick.run / "config.yaml").read_text("utf-8"))
    config = load_config(str(quick.folder / "tiny.yaml"), overrides=QUICK)
    assert values == config.as_dict()


@pytest.mark.parametrize("command", _ALL[1:])
def test_a_stage_without_the_one_before_it_is_refused(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_tiny(tmp_path))
    with pytest.raises(UserError, match="run `spice "):
        run_stages(_config(), "run", commands=(command,))
