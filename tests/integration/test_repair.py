"""Damage to a finished run, a changed source, SIGTERM: told, and every advice works."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.integration.conftest import unverified
from tests.integration.tiny import artifact_files, invoke, metrics, start

_COUNT, _DIM, _CLUSTERS = 90, 8, 3
_RUN = (
    "self", "--embeddings", "blobs.npz", "--clusters", _CLUSTERS, "--run-dir", "run",
    "--set", "self.neighbors.epochs=4", "--set", "self.num_heads=3",
    "--set", "evaluate.map_method=pca",
)  # fmt: skip
_ADVICE = re.compile(r"`spice ([^`]*)`")


def _write(path: Path, order: slice = slice(None)) -> None:
    generator = np.random.default_rng(0)
    groups = np.arange(_COUNT) % _CLUSTERS
    features = 4.0 * np.eye(_CLUSTERS, _DIM)[groups] + generator.normal(size=(_COUNT, _DIM))
    np.savez(path, features=features[order], labels=groups[order])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repair")
    _write(folder / "blobs.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        unverified(patch)
        result = invoke(*_RUN)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run, in a working folder of its own."""
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    unverified(monkeypatch)
    return Path("run")


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize(
    "file", ["images/features.npy", "embeddings/neighbors.npy", "heads/weights.npz"]
)
def test_a_flipped_bit_is_told_and_the_advice_mends_it(run: Path, file: str) -> None:
    before = artifact_files(run, without=("export", "evaluation"))
    _flip(run / "artifacts" / file)
    told = invoke("export", "--run-dir", "run")
    assert told.exit_code == 2
    assert f"{file} does not match its checksum" in told.stderr
    advice = _ADVICE.search(told.stderr)
    assert advice is not None
    mended = invoke(*shlex.split(advice[1]))
    assert mended.exit_code == 0, mended.output
    assert "the same to the byte" in mended.stderr
    assert artifact_files(run, without=("export", "evaluation")) == before
    assert invoke("repair", "run").stderr.strip() == "spice repair: nothing is damaged, in run"


def test_resuming_says_done_of_nothing_it_has_not_checked(run: Path) -> None:
    _flip(run / "artifacts" / "embeddings" / "neighbors.npy")
    (run / "report.html").unlink()
    shutil.rmtree("saved_models")
    again = invoke(*_RUN, "--resume")
    assert again.exit_code == 0, again.output
    for said in ("neighbors.npy does not match", "report.html missing", "SavedModel saved_models"):
        assert said in again.stderr
    assert (run / "report.html").is_file()
    assert (Path("saved_models") / "blobs" / "1" / "saved_model.pb").is_file()


def test_what_is_missing_is_made_by_the_advised_command(run: Path) -> None:
    for name in ("reliable", "names", "evaluation", "export"):
        shutil.rmtree(run / "artifacts" / name)
    told = invoke("export", "--run-dir", "run")
    assert told.exit_code == 2
    assert "holds no reliable yet" in told.stderr
    advice = _ADVICE.search(told.stderr)
    assert advice is not None
    done = invoke(*shlex.split(advice[1]))
    assert done.exit_code == 0, done.output
    assert (run / "artifacts" / "reliable").is_dir()


def test_another_order_of_the_rows_is_told_before_it_is_judged(run: Path) -> None:
    before = metrics(run)["self"]["acc"]
    _write(Path("blobs.npz"), order=slice(None, None, -1))
    for arguments in (("eval", "--run-dir", "run"), (*_RUN, "--resume")):
        told = invoke(*arguments)
        assert told.exit_code == 2
        assert "in another order" in told.stderr
    assert invoke("eval", "--run-dir", "run", "--labels", "none").exit_code == 0
    _write(Path("blobs.npz"))
    assert invoke("eval", "--run-dir", "run", "--labels", "source").exit_code == 0
    assert metrics(run)["self"]["acc"] == before


def test_an_update_follows_the_rows_to_another_place(run: Path) -> None:
    before = metrics(run)["self"]["acc"]
    file = run / "artifacts" / "heads" / "probabilities.npy"
    said = np.load(file)
    _write(Path("blobs.npz"), order=slice(None, None, -1))
    told = invoke(*_RUN, "--resume")
    (advice,) = [text for text in _ADVICE.findall(told.stderr) if "--update" in text]
    done = invoke(*shlex.split(advice))
    assert done.exit_code == 0, done.output
    assert "0 removed, 90 in another place; 0 items were assigned" in done.stderr
    np.testing.assert_array_equal(np.load(file), said[::-1])
    assert metrics(run)["self"]["acc"] == before
    assert invoke("reproduce", "run").exit_code == 2


def test_a_run_is_reproduced_in_another_folder(run: Path) -> None:
    again = invoke("reproduce", "run", "--run-dir", "again")
    assert again.exit_code == 0, again.output
    assert "All figures are the same." in again.stdout
    assert not (Path("again") / "artifacts" / "export").exists()
    _flip(Path("again") / "artifacts" / "heads" / "manifest.json")
    assert invoke("reproduce", "run", "--run-dir", "run").exit_code == 2


def test_sigterm_leaves_a_checkpoint_and_a_sentence(made: Path, tmp_path: Path) -> None:
    shutil.copy(made / "blobs.npz", tmp_path)
    longer = [str(word).replace("epochs=4", "epochs=20000") for word in _RUN]
    process = start(*longer, "--set", "self.checkpoint_every=20000", cwd=tmp_path)
    rows, deadline = tmp_path / "run" / "metrics.jsonl", time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline:
        if rows.is_file() and rows.read_bytes().count(b"\n") > 2:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 143, said
    assert "Ended by SIGTERM. The same command with --resume continues." in said
    assert "Traceback" not in said
    assert len(list((tmp_path / "run" / "checkpoints" / "self").glob("epoch-*"))) == 1
    assert not (tmp_path / "run" / "run.lock").exists()
