"""Folders that the program writes and reads again: run artifacts, checkpoints, networks, shards.

An input is one file of such a folder. Its first byte says which one; its highest bit, whether the
checksums beside it are made to fit, as somebody would who means harm.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from spice_keras.config import RunConfig, load_config
from spice_keras.review.edits import Exclude, Merge, Move, NewCluster, Rename, Undo
from spice_keras.review.log import EditLog
from spice_keras.review.state import ReviewState
from spice_keras.run.directory import RunDirectory
from spice_keras.shards.embeddings import EmbeddingShards, write_embeddings
from spice_keras.shards.folder import ShardFolder

_FITTING = 0x80


@cache
def _kept(make: Callable[[Path], object]) -> Path:
    """A folder that is made once in a process."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    make(folder)
    return folder


def _files(folder: Path) -> list[str]:
    return sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())


def _packed(make: Callable[[Path], object]) -> list[bytes]:
    """Each file of a folder as an input, with its checksums to be left and to be made to fit."""
    folder = _kept(make)
    datas = [(folder / name).read_bytes() for name in _files(folder)]
    return [
        bytes([number | bit]) + data
        for number, data in enumerate(datas)
        for bit in (0, _FITTING)
    ]  # fmt: skip


def _unpacked(
    path: Path, make: Callable[[Path], object], folder: Path, fit: Callable[[Path, str], object]
) -> None:
    """Copy an honest folder, with the input in the place of one of its files."""
    honest, data = _kept(make), path.read_bytes() or b"\0"
    shutil.copytree(honest, folder, dirs_exist_ok=True)
    names = _files(honest)
    name = names[(data[0] & ~_FITTING) % len(names)]
    (folder / name).write_bytes(data[1:])
    if data[0] & _FITTING:
        fit(folder, name)


def edits() -> list[bytes]:
    """Logs of edits."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "edits.jsonl")
        log = EditLog(path, _state())
        log.append(Rename(group="c0", name="cats"))
        log.append(Move(items=("b",), group="c1"))
        log.append(NewCluster(items=("e",), group="n1", name="=dogs"))
        log.append(Exclude(items=("f",)))
        log.append(Undo())
        log.append(Merge(groups=("c0", "c1"), into="c0", name=""))
        whole = path.read_bytes()
    return [whole, b"".join(whole.splitlines(keepends=True)[:2]), b'{"base": [["a"], ["b"]]}\n']


def _state() -> ReviewState:
    return ReviewState(list("abcdef"), np.array([0, 0, 0, 1, 1, 1]), 2)


def read_edits(path: Path) -> None:
    """As `spice review` opens them, and makes one more."""
    from spice_keras.review.state import CannotApply

    log = EditLog(path, _state())
    try:
        log.append(Rename(group="c0", name="x"))
    except CannotApply:
        return


def _make_shards(folder: Path) -> None:
    out = ShardFolder(folder, {"kind": "embeddings", "dim": 3, "source": "x"}, 2)
    for number in range(2):
        write_embeddings(out, number, [f"{number}a", f"{number}b"], np.eye(2, 3), [("c", "cut")])
    out.finish()


def shards() -> list[bytes]:
    """The files of a folder of embeddings."""
    return _packed(_make_shards)


def _fit_shards(folder: Path, name: str) -> None:
    from spice_keras.files import sha256

    if not name.startswith("shard") or (name.count(".") == 1 and name.endswith(".json")):
        return
    manifest = json.loads((folder / "manifest.json").read_text())
    for shard in manifest["shards"]:
        if name in shard["files"]:
            shard["files"][name] = ((folder / name).stat().st_size, sha256(folder / name))
    (folder / "manifest.json").write_text(json.dumps(manifest))


def read_shards(path: Path) -> None:
    """As the heads are trained on them, and as `spice embed` goes on with them."""
    from spice_keras.errors import UserError

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _unpacked(path, _make_shards, folder, _fit_shards)
        try:
            found = EmbeddingShards(folder)
            found.sample(3)
            list(found.shards())
        except UserError:
            pass
        ShardFolder(folder, {"kind": "embeddings", "dim": 3, "source": "x"}, 2).finish()


@cache
def _config() -> RunConfig:
    return load_config("embeddings", overrides={"data.path": "x.npz", "num_clusters": 2})


def _make_artifacts(folder: Path) -> None:
    from spice_keras.algorithm.feature_space import FeatureSpace
    from spice_keras.run.context import Context
    from spice_keras.run.store import Embeddings, Evaluation, Heads, Items, Names, Reliable
    from spice_keras.words.naming import ClusterName

    context = Context(_config(), RunDirectory.create(folder, _config().as_dict()))
    rows = np.eye(4, 3, dtype=np.float32)
    context.save(Items(list("abcd"), [("e", "cut")], "0", features=rows))
    context.save(Embeddings(np.zeros((4, 2), np.int32), rows, space=FeatureSpace("unit")))
    probabilities = np.full((4, 2), 0.5, np.float32)
    history = {"self": {"losses": np.zeros((1, 2)), "chosen": np.array([0, 1])}}
    facts = {"words": ["a", "b"], "fit": 0.5, "reason": "fits"}
    assignments = np.zeros((2, 4), np.int32)
    weights = [np.zeros((2, 3, 2), np.float32)]
    context.save(Heads(probabilities, assignments, 0, 1, 0.5, weights, np.zeros(4), history, facts))
    context.save(Reliable(np.array([1]), np.array([0]), np.ones(4), {"reliable": 1}))
    context.save(Names((ClusterName("cat", (("cat", 0.5),)), ClusterName(None)), "x", True))
    context.save(Evaluation({"self": {"acc": 0.5}}))


def artifacts() -> list[bytes]:
    """The files of a run's artifacts."""
    return _packed(_make_artifacts)


def _fit_artifact(folder: Path, name: str) -> None:
    parts = Path(name).parts
    if parts[0] == "artifacts" and parts[-1] != "manifest.json":
        run = RunDirectory(folder)
        manifest = run._manifest_of(parts[1], "x", folder / "artifacts" / parts[1])
        (folder / "artifacts" / parts[1] / "manifest.json").write_text(json.dumps(manifest))


def read_artifacts(path: Path) -> None:
    """As the stages read them."""
    from spice_keras.errors import UserError
    from spice_keras.run.context import Context
    from spice_keras.run.damage import find_damage
    from spice_keras.run.store import Embeddings, Evaluation, Heads, Items, Names, Reliable

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _unpacked(path, _make_artifacts, folder, _fit_artifact)
        run = RunDirectory(folder)
        find_damage(run, ["images", "embeddings", "heads", "reliable", "names", "evaluation"])
        for kind in (Items, Embeddings, Heads, Reliable, Names, Evaluation):
            try:
                Context(_config(), run).load(kind)
            except UserError:
                continue


@cache
def _model() -> Any:
    import keras

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def _make_checkpoint(folder: Path) -> None:
    from spice_keras.training.checkpoints import Checkpoints

    Checkpoints(folder / "semi").save(3, _model(), {"best": np.arange(3)})


def checkpoints() -> list[bytes]:
    """The files of a checkpoint."""
    return _packed(_make_checkpoint)


def _fit_checkpoint(folder: Path, name: str) -> None:
    from spice_keras.training.checkpoint_files import FACTS, write_facts

    if not name.endswith(FACTS):
        write_facts((folder / name).parent, stage="semi", epoch=3)


def read_checkpoint(path: Path) -> None:
    """As a stage goes on with it: what is damaged is removed first."""
    from spice_keras.training.checkpoint_files import discard_damaged
    from spice_keras.training.checkpoints import Checkpoints

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _unpacked(path, _make_checkpoint, folder, _fit_checkpoint)
        discard_damaged(folder / "semi")
        Checkpoints(folder / "semi").restore(_model())


def _make_network(folder: Path) -> None:
    from spice_keras.options import BackboneOptions
    from spice_keras.run.networks import build_encoder, save_network

    backbone = BackboneOptions(name="small_resnet", width=4)
    network = build_encoder(backbone, image_size=8, seed=0)
    save_network(folder, network, backbone, image_size=8)


def networks() -> list[bytes]:
    """The files of a trained encoder."""
    return _packed(_make_network)


@cache
def _network() -> Any:
    from spice_keras.options import BackboneOptions
    from spice_keras.run.networks import build_encoder

    return build_encoder(BackboneOptions(name="small_resnet", width=4), image_size=8, seed=0)


def read_network(path: Path) -> None:
    """As a stage loads it."""
    from spice_keras.options import BackboneOptions
    from spice_keras.run.networks import load_network

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _unpacked(path, _make_network, folder, lambda *_: None)
        load_network(folder, _network(), BackboneOptions(name="small_resnet", width=4))


def _make_saved_model(folder: Path) -> None:
    import tensorflow as tf

    from spice_keras.serving.facts import FILE

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = tf.Variable(tf.random.stateless_normal((40, 30), [1, 2]))

        @tf.function(input_signature=[tf.TensorSpec([None, 40])])
        def sort(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"probabilities": tf.nn.softmax(rows @ self.kernel)}

    module = Module()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.sort})
    facts = {"num_clusters": 30, "num_features": 40}
    (folder / FILE).write_text(json.dumps(facts))
    (folder / "fingerprint.pb").unlink(missing_ok=True)


def saved_models() -> list[bytes]:
    """The variables of a SavedModel; its graph is a program."""
    honest = _files(_kept(_make_saved_model))
    return [data for data in _packed(_make_saved_model)
            if honest[data[0] & ~_FITTING].startswith("variables/")]  # fmt: skip


def read_saved_model(path: Path) -> None:
    """As `spice predict` loads it, whichever of the variables' files it is."""
    from spice_keras.serving.predict import load_model

    with tempfile.TemporaryDirectory() as name:
        folder, data = Path(name), path.read_bytes() or b"\0"
        honest = _kept(_make_saved_model)
        shutil.copytree(honest, folder, dirs_exist_ok=True)
        variables = [one for one in _files(honest) if one.startswith("variables/")]
        (folder / variables[data[0] % len(variables)]).write_bytes(data[1:])
        load_model(folder)
