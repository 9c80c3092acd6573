"""What of a run is finished: what is skipped, done again, forgotten, and what may change."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from spice_keras.config import RunConfig, load_config
from spice_keras.errors import UserError
from spice_keras.progress import Screen
from spice_keras.run.configuration import environment, keep_configuration, read_run_config
from spice_keras.run.directory import RunDirectory
from spice_keras.run.history import STAGES, History, chosen_stages, open_run
from spice_keras.training.checkpoint_files import (
    FACTS,
    STATE,
    WEIGHTS,
    checkpoint_folder,
    write_facts,
)


@pytest.fixture
def config() -> RunConfig:
    return load_config("digits")


def _finish(run: RunDirectory, *artifacts: str) -> RunDirectory:
    for name in artifacts:
        with run.write(name, stage="test") as folder:
            (folder / "x").write_text("x")
    return run


# Opening


def test_a_new_run_holds_configuration_and_environment(tmp_path: Path, config: RunConfig) -> None:
    run = open_run(tmp_path / "run", config)
    assert read_run_config(run.path) == config
    written = json.loads((run.path / "environment.json").read_text())
    assert written == environment(config)
    assert written["seed"] == "0"
    assert written["tensorflow"].startswith("2.")


def test_the_same_configuration_opens_it_again_and_writes_nothing(
    tmp_path: Path, config: RunConfig
) -> None:
    open_run(tmp_path / "run", config)
    before = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in (tmp_path / "run").iterdir()}
    open_run(tmp_path / "run", config)
    after = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in (tmp_path / "run").iterdir()}
    assert after == before


def test_another_configuration_is_refused_with_the_differences(
    tmp_path: Path, config: RunConfig
) -> None:
    run = _finish(open_run(tmp_path / "run", config), "images", "classifier")
    other = load_config("digits", overrides={"seed": 4, "semi.steps": 5, "data.labels": "none"})
    with pytest.raises(UserError) as caught:
        open_run(run.path, other)
    assert str(caught.value).splitlines() == [
        f"{tmp_path / 'run'} was made with another configuration:",
        "  seed: 0 there, 4 asked for",
        "  semi.steps: 700 there, 5 asked for",
        "Name another folder with --run-dir, or ask for the same.",
    ]
    assert read_run_config(run.path) == config


# The options a finished stage has read, and the command that does it again.
_ARTIFACTS = ["images", "encoder", "embeddings", "heads", "reliable", "classifier"]
_READ_BY = {
    "data.image_size": ("images", None),
    "seed": ("images", None),
    "backbone.width": ("encoder", "pretrain"),
    "pretrain.epochs": ("encoder", "pretrain"),
    "num_clusters": ("embeddings", "self"),
    "embed.recall": ("embeddings", "self"),
    "self.cached_views": ("embeddings", "self"),
    "self.neighbors.num_neighbors": ("embeddings", "self"),
    "self.epochs": ("heads", "self"),
    "self.weak.rotate": ("heads", "self"),
    "self.neighbors.epochs": ("heads", "self"),
    "reliable.num_neighbors": ("embeddings", "self"),
    "reliable.confidence_threshold": ("reliable", "self"),
    "semi.steps": ("classifier", "semi"),
}
_VALUES: dict[str, Any] = {
    "self.cached_views": {"weak": 1, "strong": 2},
    "reliable.confidence_threshold": 0.5,
    "data.image_size": 24,
    "embed.recall": 0.9,
}


@pytest.mark.parametrize("option", sorted(_READ_BY))
def test_an_option_is_free_until_a_stage_has_read_it(
    option: str, tmp_path: Path, config: RunConfig
) -> None:
    reader, command = _READ_BY[option]
    other = load_config("digits", overrides={option: _VALUES.get(option, 7)})
    run = open_run(tmp_path / "run", config)
    for artifact in _ARTIFACTS:
        if artifact == reader:
            break
        open_run(_finish(run, artifact).path, other)
    for artifact in _ARTIFACTS[_ARTIFACTS.index(reader) :]:
        again = (
            f"or do it again from there: spice {command} --redo." if command else "for the same."
        )
        with pytest.raises(UserError, match=rf"  {option}.* there, (.|\n)*{again}"):
            open_run(_finish(run, artifact).path, other)
    assert read_run_config(run.path) == config, "that is noted once nothing of the other is left"
    keep_configuration(run, other)
    assert read_run_config(run.path) == other


def test_what_was_begun_has_read_its_options(tmp_path: Path, config: RunConfig) -> None:
    run = open_run(tmp_path / "run", config)
    (run.checkpoints / "pretrain").mkdir(parents=True)
    with pytest.raises(UserError, match="another configuration"):
        open_run(run.path, load_config("digits", overrides={"pretrain.epochs": 7}))
    open_run(run.path, load_config("digits", overrides={"self.epochs": 7}))


def test_what_will_be_done_again_may_change(tmp_path: Path, config: RunConfig) -> None:
    run = _finish(open_run(tmp_path / "run", config), *_ARTIFACTS)
    other = load_config("digits", overrides={"self.epochs": 7, "semi.steps": 8})
    open_run(run.path, other, redone_from="embed")
    with pytest.raises(UserError, match=r"self\.epochs: 20 there, 7 asked for"):
        open_run(run.path, other, redone_from="semi")


def test_what_only_judges_is_free_at_any_time(tmp_path: Path, config: RunConfig) -> None:
    run = _finish(open_run(tmp_path / "run", config), *_ARTIFACTS)
    open_run(run.path, load_config("digits", overrides={"data.labels": "none"}))


@pytest.mark.parametrize("option", ["self.weak.shift", "self.strong.num_ops"])
def test_views_that_nobody_caches_are_read_by_the_heads_alone(
    option: str, tmp_path: Path, config: RunConfig
) -> None:
    """The views of `digits` are drawn while the heads train."""
    plain = {"self.weak": {"policy": "weak"}, "self.strong": {"policy": "spice"}}
    config = load_config("digits", overrides=plain)
    other = load_config("digits", overrides={**plain, option: 0 if "ops" in option else 0.5})
    run = _finish(open_run(tmp_path / "run", config), "images", "encoder", "embeddings")
    open_run(run.path, other)
    with pytest.raises(UserError, match="spice self --redo"):
        open_run(_finish(run, "heads").path, other)


# Running


Do = Callable[..., list[str]]


@pytest.fixture
def do(tmp_path: Path) -> Do:
    """Run commands in one run directory with work that writes each stage's artifact."""

    def _do(config: RunConfig, commands: Sequence[str] = _ALL, **options: bool) -> list[str]:
        history = History.begin(tmp_path / "run", config, commands=commands, **options)
        done: list[str] = []
        for stage in STAGES:

            def work(name: str = stage.name, artifact: str = stage.artifact) -> None:
                done.append(name)
                _finish(history.run, artifact)

            assert history.run_stage(stage.name, work) == (done[-1:] == [stage.name])
        return done

    return _do


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "run")


_ALL = ("pretrain", "self", "semi", "eval", "export")
_NAMES = [stage.name for stage in STAGES if stage.name not in ("test", "sort")]  # of one part


def test_everything_runs_once_in_order(config: RunConfig, do: Do, run: RunDirectory) -> None:
    assert do(config) == _NAMES
    assert list(json.loads((run.path / "timings.json").read_text())) == _NAMES


def test_what_is_finished_is_not_done_again(config: RunConfig, do: Do) -> None:
    do(config)
    assert do(config, resume=True) == []


def test_what_is_finished_is_not_overwritten(config: RunConfig, do: Do, run: RunDirectory) -> None:
    do(config, ("pretrain",))
    before = (run.path / "artifacts" / "encoder" / "manifest.json").stat().st_mtime_ns
    with pytest.raises(UserError, match=r"already holds pretrain .*--resume.*--run-dir"):
        do(config)
    assert (run.path / "artifacts" / "encoder" / "manifest.json").stat().st_mtime_ns == before


def _checkpoint(run: RunDirectory, stage: str, epoch: int = 2) -> Path:
    """A whole checkpoint, of no model."""
    folder = checkpoint_folder(run.checkpoints / stage, epoch)
    folder.mkdir(parents=True)
    for name in (WEIGHTS, STATE):
        (folder / name).write_bytes(b"x")
    write_facts(folder, stage=stage, epoch=epoch)
    return folder


def test_what_was_begun_is_not_begun_again(config: RunConfig, do: Do, run: RunDirectory) -> None:
    open_run(run.path, config)
    _checkpoint(run, "pretrain")
    with pytest.raises(UserError, match="already holds pretrain"):
        do(config, ("pretrain",))


def test_images_alone_are_no_obstacle(config: RunConfig, do: Do, run: RunDirectory) -> None:
    _finish(open_run(run.path, config), "images")
    assert do(config, ("pretrain",)) == ["pretrain"]


def test_judging_can_be_repeated_at_any_time(config: RunConfig, do: Do) -> None:
    do(config)
    assert do(config, ("eval",)) == ["name", "eval"]
    assert do(config, ("export",)) == ["export"]


@pytest.mark.parametrize(
    ("command", "again", "left"),
    [
        ("pretrain", ["pretrain"], ["images", "encoder"]),
        ("self", ["self", "reliable"], ["images", "encoder", "embeddings", "heads", "reliable"]),
        ("semi", ["semi"],
         ["images", "encoder", "embeddings", "heads", "reliable", "classifier"]),
    ],
)  # fmt: skip
def test_redoing_a_stage_forgets_what_was_made_of_it(
    config: RunConfig, do: Do, run: RunDirectory, command: str, again: list[str], left: list[str]
) -> None:
    do(config)
    for stage in ("pretrain", "self", "refine", "semi"):
        run.append_metrics({"stage": stage, "epoch": 0})
    tables = ("assignments.csv", "duplicates.csv", "outliers.csv")
    for name in ("report.html", "metrics.json", *tables):
        (run.path / name).write_text("of the run before")
    assert do(config, (command,), redo=True) == again
    assert [stage.artifact for stage in STAGES if run.has(stage.artifact)] == left
    order = ["pretrain", "self", "refine", "semi"]
    kept = [stage for stage in order if run.metrics(stage)]
    assert kept == order[: order.index(command)]
    assert not list(run.path.glob("*.html")) + list(run.path.glob("*.csv"))


# What embedding reads, and what it does not.
_EMBEDS_AGAIN = {
    "num_clusters": 9,
    "embed.recall": 0.9,
    "reliable.num_neighbors": 7,
    "self.cached_views": {"weak": 1, "strong": 2},
}
_KEEPS = {"self.num_heads": 3, "self.weak.rotate": 1.0, "self.neighbors.epochs": 3, "semi.steps": 5}


@pytest.mark.parametrize("option", sorted(_EMBEDS_AGAIN | _KEEPS))
def test_heads_done_again_keep_embeddings_that_are_still_right(
    option: str, config: RunConfig, do: Do
) -> None:
    do(config)
    other = load_config("digits", overrides={option: (_EMBEDS_AGAIN | _KEEPS)[option]})
    expected = ["embed"] if option in _EMBEDS_AGAIN else []
    assert do(other, ("self",), redo=True) == [*expected, "self", "reliable"]


def test_damaged_embeddings_are_made_again(config: RunConfig, do: Do, run: RunDirectory) -> None:
    do(config)
    (run.path / "artifacts" / "embeddings" / "x").write_text("y, and more")
    assert do(config, ("self",), redo=True) == ["embed", "self", "reliable"]


def test_embeddings_of_another_encoder_are_made_again(
    config: RunConfig, do: Do, run: RunDirectory
) -> None:
    do(config)
    do(config, ("pretrain",), redo=True)
    assert do(config, ("self",)) == ["embed", "self", "reliable"]


def test_one_pretraining_serves_for_heads_of_another_kind(
    config: RunConfig, do: Do, run: RunDirectory
) -> None:
    do(config)
    other = load_config("digits", overrides={"self.num_heads": 3})
    with pytest.raises(UserError, match="spice self --redo"):
        do(other, ("self",), resume=True)
    assert run.has("heads")
    assert read_run_config(run.path) == config
    assert do(other, ("self",), redo=True) == ["self", "reliable"]
    assert read_run_config(run.path) == other
    assert not run.has("classifier")


def test_what_was_judged_before_a_stage_was_trained_is_judged_again(
    config: RunConfig, do: Do, run: RunDirectory
) -> None:
    do(load_config("digits", overrides={"semi.enabled": False}))
    (run.path / "report.html").write_text("of the heads")
    assert do(config, resume=True) == ["semi", "name", "eval", "export"]
    assert not (run.path / "report.html").exists()


def test_heads_are_not_judged_unasked_before_semi(
    config: RunConfig, do: Do, run: RunDirectory
) -> None:
    do(config, ("pretrain", "self"))
    with pytest.raises(UserError, match=r"spice semi --run-dir .* or take .*semi\.enabled=false"):
        do(config, ("eval",))
    heads_alone = load_config("digits", overrides={"semi.enabled": False})
    assert do(heads_alone, ("eval",)) == ["name", "eval"]


def test_without_semi_it_is_passed_over(do: Do) -> None:
    found = do(load_config("digits", overrides={"semi.enabled": False}))
    assert found == [name for name in _NAMES if name != "semi"]


def test_embeddings_need_no_encoder() -> None:
    config = load_config("embeddings", overrides={"data.path": "x.npy"})
    found = [stage.name for stage in chosen_stages(config, ("self", "eval"))]
    assert found == ["images", "embed", "self", "reliable", "name", "eval"]


def test_a_sample_is_followed_by_all_others(do: Do, run: RunDirectory) -> None:
    overrides = {"data.path": "shards", "data.sample": 100}
    config = load_config("embeddings", overrides=overrides)
    assert do(config, ("self", "eval")) == [
        "images", "embed", "self", "reliable", "sort", "name", "eval",
    ]  # fmt: skip
    do(config, ("self",), redo=True)
    assert not run.has("sorted")


def test_under_split_the_test_images_are_classified_before_evaluation(
    do: Do, run: RunDirectory
) -> None:
    overrides = {"data.source": "arrays", "data.path": "a.npy", "data.test_path": "b.npy"}
    config = load_config("digits", overrides={**overrides, "data.protocol": "split"})
    assert do(config) == [stage.name for stage in STAGES if stage.name != "sort"]
    do(config, ("semi",), redo=True)
    assert not run.has("test")
    assert do(config, ("eval",)) == ["test", "name", "eval"]
    assert do(config, ("eval",)) == ["name", "eval"]


def test_times_of_interrupted_and_continued_stages_add_up(
    config: RunConfig, do: Do, run: RunDirectory
) -> None:
    open_run(run.path, config)
    (run.path / "timings.json").write_text('{"pretrain": 100.0}')
    do(config, ("pretrain",), resume=True)
    assert json.loads((run.path / "timings.json").read_text())["pretrain"] >= 100.0


def test_the_resolved_configuration_is_plain_yaml(config: RunConfig, run: RunDirectory) -> None:
    open_run(run.path, config)
    values = yaml.safe_load((run.path / "config.yaml").read_text(encoding="utf-8"))
    assert values == config.as_dict()


def test_a_run_directory_of_an_older_version_goes_on(
    config: RunConfig, do: Do, run: RunDirectory
) -> None:
    """Artifacts of schema 1, and a configuration that knows nothing of later options."""
    do(config, ("pretrain", "self"))
    for manifest in run.path.glob("artifacts/*/manifest.json"):
        assert json.loads(manifest.read_text("utf-8"))["schema"] == 1
    values = yaml.safe_load((run.path / "config.yaml").read_text("utf-8"))
    del values["embed"], values["self"]["neighbors"]["epochs"], values["evaluate"]
    (run.path / "config.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    assert do(config, resume=True) == ["semi", "name", "eval", "export"]
    assert run.read("heads", written_by="self").is_dir()


# Damage, and what killed commands left


def _files(run: RunDirectory, artifact: str) -> Path:
    return run.path / "artifacts" / artifact


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


Mend = Callable[..., tuple[list[str], str]]


@pytest.fixture
def mend(config: RunConfig, run: RunDirectory) -> Mend:
    """Repairs the run; a stage writes the text it is given, "x" if none."""

    def _mend(**texts: str) -> tuple[list[str], str]:
        console = Console(file=io.StringIO(), soft_wrap=True)
        history = History.mend(run.path, config, screen=Screen(console=console))
        done = []
        for stage in STAGES:

            def work(stage: Any = stage) -> None:
                done.append(stage.name)
                with run.write(stage.artifact, stage=stage.name) as folder:
                    (folder / "x").write_text(texts.get(stage.artifact, "x"))

            history.run_stage(stage.name, work)
        assert isinstance(console.file, io.StringIO)
        return done, console.file.getvalue()

    return _mend


def test_a_whole_run_needs_no_repair(do: Do, mend: Mend, config: RunConfig) -> None:
    do(config)
    assert mend() == ([], "")


@pytest.mark.parametrize("artifact", _ARTIFACTS)
def test_what_comes_out_as_it_was_keeps_all_that_was_made_of_it(
    do: Do, mend: Mend, run: RunDirectory, config: RunConfig, artifact: str
) -> None:
    do(config)
    before = {name: run.digest(name) for name in _ARTIFACTS}
    stamps = {name: _files(run, name).stat().st_ino for name in _ARTIFACTS}
    _flip(_files(run, artifact) / "x")
    done, said = mend()
    assert done == [stage.name for stage in STAGES if stage.artifact == artifact]
    assert f"{artifact}/x does not match its checksum" in said
    assert {name: run.digest(name) for name in _ARTIFACTS} == before
    kept = {name for name in _ARTIFACTS if _files(run, name).stat().st_ino == stamps[name]}
    assert kept >= set(_ARTIFACTS) - {artifact}
    assert mend() == ([], "")


def test_what_comes_out_otherwise_takes_what_was_made_of_it_along(
    do: Do, mend: Mend, run: RunDirectory, config: RunConfig
) -> None:
    do(config)
    _flip(_files(run, "reliable") / "x")
    done, said = mend(reliable="other")
    assert done == ["reliable", "semi", "name", "eval", "export"]
    assert "not the same to the byte" in said
    assert "what was made of it is made again as well: semi" in said
    assert mend() == ([], "")


def test_a_missing_artifact_that_others_were_made_of_is_damage(
    do: Do, mend: Mend, run: RunDirectory, config: RunConfig
) -> None:
    do(config)
    shutil.rmtree(_files(run, "embeddings"))
    done, said = mend()
    assert done == ["embed"]
    assert "the same to the byte" in said


@pytest.mark.parametrize("damage", ["gone", "flipped", "cut"])
def test_a_damaged_manifest_of_whole_files_is_written_again(
    do: Do, mend: Mend, run: RunDirectory, config: RunConfig, damage: str
) -> None:
    do(config)
    path = _files(run, "heads") / "manifest.json"
    text = path.read_text()
    if damage == "gone":
        path.unlink()
    else:
        path.write_text(
            text[:40] if damage == "cut" else text.replace('"sha256": "', '"sha256": "0')
        )
    done, said = mend()
    assert done == []
    assert "heads: its files are whole; its manifest is written again." in said
    assert json.loads(path.read_text())["files"] == json.loads(text)["files"]


def test_an_artifact_of_another_run_is_not_taken_for_this_ones(
    do: Do, mend: Mend, run: RunDirectory, config: RunConfig
) -> None:
    do(config)
    with run.write("embeddings", stage="embed") as folder:
        (folder / "x").write_text("of another run")
    done, said = mend()
    assert done[0] == "self"
    assert "was made from another embeddings" in said


def test_resuming_makes_damage_good_and_redo_touches_nothing_before_it(
    do: Do, run: RunDirectory, config: RunConfig
) -> None:
    do(config)
    _flip(_files(run, "images") / "x")
    before = sorted(path.name for path in (run.path / "artifacts").iterdir())
    with pytest.raises(UserError, match=r"images/x does not match .*`spice repair"):
        do(config, ("self",), redo=True)
    assert sorted(path.name for path in (run.path / "artifacts").iterdir()) == before
    assert do(config, resume=True) == ["images"]


def test_left_overs_of_kills_are_swept(do: Do, run: RunDirectory, config: RunConfig) -> None:
    open_run(run.path, config)
    (run.path / "environment.json").unlink()
    whole = _checkpoint(run, "self", 3)
    half = checkpoint_folder(run.checkpoints / "self", 4)
    half.mkdir()
    (half / WEIGHTS).write_bytes(b"half")
    for folder in ("artifacts/.heads.0123abcd", ".writing.model", "checkpoints/semi"):
        (run.path / folder).mkdir(parents=True)
    for name in (".config.yaml.0123abcd", ".metrics.jsonl.ffff0000"):
        (run.path / name).write_text("half")
    with pytest.raises(UserError, match="already holds self"):
        do(config, ("self",))
    assert not [path for path in run.path.rglob(".*")]
    assert [path.name for path in run.checkpoints.rglob("epoch-*")] == [whole.name]
    assert not (run.checkpoints / "semi").exists()
    assert do(config, resume=True)
    assert (run.path / "environment.json").is_file()


def test_a_checkpoint_is_what_it_says_inside(run: RunDirectory, config: RunConfig) -> None:
    """A copy under another number, of another stage, or a damaged one is not gone on with."""
    open_run(run.path, config)
    whole = _checkpoint(run, "self", 3)
    shutil.copytree(whole, checkpoint_folder(whole.parent, 9999999))
    shutil.copytree(whole, whole.parent / "epoch-zzz")
    shutil.copytree(whole.parent, run.checkpoints / "pretrain")
    _flip(_checkpoint(run, "self", 5) / WEIGHTS)
    (_checkpoint(run, "self", 6) / FACTS).write_text("[]")
    console = Console(file=io.StringIO(), soft_wrap=True)
    History.begin(run.path, config, commands=("self",), resume=True, screen=Screen(console=console))
    assert [path.name for path in run.checkpoints.rglob("epoch-*")] == [whole.name]
    assert isinstance(console.file, io.StringIO)
    for name in ("epoch-9999999 of self", "epoch-0000003 of pretrain", "epoch-0000005 of self"):
        assert name in console.file.getvalue()
