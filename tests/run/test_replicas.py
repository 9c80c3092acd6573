"""What a strategy asks of the configuration, the batches and the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spice_keras.config import RunConfig, load_config, make_plan
from spice_keras.errors import UserError
from spice_keras.run.directory import RunDirectory
from spice_keras.run.history import open_run
from spice_keras.run.preflight import describe_run
from spice_keras.run.replicas import Replicas, refuse_uneven_batches, training_strategy
from spice_keras.run.request import OptionRequest, RunRequest, SourceRequest, prepare_run
from tests.integration.tiny import invoke

_SCRATCH: dict[str, Any] = {
    "backbone.name": "small_resnet", "self.objective": "prototypes", "self.cached_views": None,
    "pretrain.batch_size": 64, "pretrain.queue_size": None, "self.large_batch": 600,
    "semi.labeled_batch": 32, "semi.unlabeled_ratio": 3, "strategy": "mirrored",
}  # fmt: skip


def _config(**options: Any) -> RunConfig:
    changed = {name.replace("__", "."): value for name, value in options.items()}
    return load_config(overrides=_SCRATCH | changed)


@pytest.mark.parametrize(
    ("options", "replicas", "said"),
    [
        (
            {},
            3,
            "A batch of 64 cannot be shared evenly by 3 devices; set pretrain.batch_size .* 63",
        ),
        ({"self__large_batch": 601}, 2, "set self.large_batch so that a batch has 600"),
        ({"semi__labeled_batch": 33}, 2, "set semi.labeled_batch"),
        ({"pretrain__bn_groups": 2}, 4, "pretrain.bn_groups to 1, or to a multiple of 4"),
        ({"pretrain__batch_size": 66}, 3, "set semi.labeled_batch so that a batch has 33"),
    ],
)
def test_uneven_batches_are_refused(options: dict[str, Any], replicas: int, said: str) -> None:
    config = _config(**options)
    with pytest.raises(UserError, match=said):
        refuse_uneven_batches(config, make_plan(config, 1000), replicas)


def test_even_batches_are_not(tmp_path: Path) -> None:
    config = _config(pretrain__bn_groups=8)
    for replicas in (1, 2, 4, 8):
        refuse_uneven_batches(config, make_plan(config, 1000), replicas)
    refuse_uneven_batches(_config(semi__labeled_batch=31), make_plan(config, 1000), 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"self__train_encoder": True}, "changes along with the heads"),
        ({"strategy": "multiworker", "semi__labels_from": "edits"}, "are read on one host"),
        ({"backbone__name": "keras:ResNet50", "pretrain__enabled": True}, "cannot be shared"),
        (
            {"backbone__name": "efficientnet_lite0", "self__objective": "neighbors",
             "semi__enabled": False, "pretrain__enabled": False},
            "only heads on features",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_shared_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        _config(**options)


def test_one_device_is_not_mirrored() -> None:
    assert training_strategy(_config(strategy="none"), None) is None
    assert (Replicas().count, Replicas().is_chief) == (1, True)
    with pytest.raises(UserError, match=r"sees one device: .*--strategy none"):
        training_strategy(_config(), None)


def test_a_run_goes_on_under_another_strategy(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", _config().as_dict())
    with run.write("images", stage="images"):
        pass
    assert open_run(run.path, _config(strategy="none")).path == run.path
    with pytest.raises(UserError, match="another configuration"):
        open_run(run.path, _config(seed=3))


def test_the_dry_run_says_who_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    config, workers = _config(), '["a:1", "b:2"]'
    assert any("all GPUs" in line for line in describe_run(config, make_plan(config, 1000), []))
    task = '"task": {"type": "worker", "index": 1}'
    monkeypatch.setenv("TF_CONFIG", f'{{"cluster": {{"worker": {workers}}}, {task}}}')
    config = _config(strategy="multiworker")
    assert any("a:1, b:2" in line for line in describe_run(config, make_plan(config, 1000), []))


def test_a_worker_claims_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    task = '"task": {"type": "worker", "index": 1}'
    monkeypatch.setenv("TF_CONFIG", f'{{"cluster": {{"worker": ["a:1", "b:2"]}}, {task}}}')
    options = OptionRequest(strategy="multiworker")
    prepared = prepare_run(RunRequest(SourceRequest("digits"), options), existing=False)
    assert prepared.config.strategy == "multiworker"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="--clusters K"):
        prepare_run(
            RunRequest(
                SourceRequest("digits"), OptionRequest(clusters="auto", strategy="multiworker")
            ),
            existing=False,
        )


def test_a_wrong_tf_config_ends_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TF_CONFIG", "{")
    ended = invoke("run", "digits", "--strategy", "multiworker")
    assert (ended.exit_code, "TF_CONFIG cannot be used" in ended.stderr) == (2, True)
    monkeypatch.setenv("TF_CONFIG", "")
    ended = invoke("run", "digits", "--strategy", "multiworker", "--run-dir", "run")
    assert (ended.exit_code, "spice launch" in ended.stderr) == (2, True)
    assert not Path("run").exists()
