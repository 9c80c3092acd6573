"""Shards written by the actors of a Ray cluster of two nodes, with an actor and a node killed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spice_keras.shards.embeddings import EmbeddingShards
from tests.integration.tiny import ROOT

pytest.importorskip("ray", reason="the extra ray is not installed")
pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1800)]
_COUNT, _ROWS, _PATIENCE = 400, 10, 600.0


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for number in range(_COUNT):
        pixels = generator.integers(0, 255, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04d}.png")
    return folder


def _environment(**more: str) -> dict[str, str]:
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": paths, "RAY_USAGE_STATS_ENABLED": "0", **more}


def _spice(*arguments: object, address: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "spice_keras.cli", *map(str, arguments)]
    environment = _environment(RAY_ADDRESS=address)
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def _node(folder: Path, *arguments: str, mark: str) -> subprocess.Popen[bytes]:
    """A node of a cluster, in a process group of its own."""
    command = [
        sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1",
        "--object-store-memory=80000000", "--disable-usage-stats", *arguments,
    ]  # fmt: skip
    with (folder / f"{mark}.log").open("wb") as log:
        return subprocess.Popen(
            command, env=_environment(NODE_OF_TEST=mark), stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip


def _processes(mark: str) -> dict[int, str]:
    """Processes of a node and their titles, by the mark in their environment."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if f"NODE_OF_TEST={mark}\0".encode() in (entry / "environ").read_bytes():
                    title = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(entry.name)] = title.decode("utf-8", "replace")
    return found


def _kill(mark: str) -> None:
    for number in _processes(mark):
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def _actors() -> list[int]:
    return [
        number
        for mark in ("first", "second")
        for number, title in _processes(mark).items()
        if title.startswith("ray::") and "_Actor" in title
    ]


def _wait(until: Callable[[], object], command: subprocess.Popen[str] | None = None) -> None:
    while not until():
        if command is not None and command.poll() is not None:
            pytest.fail(f"it ended too early: {command.communicate()[0]}")
        time.sleep(0.1)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """Two nodes on this machine; yields their address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    head = ("--head", f"--port={port}", "--node-ip-address=127.0.0.1", "--include-dashboard=false")
    nodes = [_node(tmp_path, *head, mark="first")]
    try:
        _wait(lambda: _answers(port))
        nodes.append(_node(tmp_path, f"--address={address}", mark="second"))
        _wait(lambda: any("raylet" in title for title in _processes("second").values()))
        yield address
    finally:
        for mark in ("second", "first"):
            _kill(mark)
        for node in nodes:
            node.wait()


def test_killed_actors_and_nodes_lose_nothing_and_double_nothing(
    cluster: str, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    asked = ("embed", photos, out, "--size", 64, "--rows", _ROWS, "--engine", "ray")
    command = _spice(*asked, "--workers", 2, address=cluster)

    def done() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in out.glob("shard-??????.json")}

    def of_node(mark: str) -> bool:
        return any(number in _processes(mark) for number in _actors())

    _wait(lambda: len(done()) >= 3 and of_node("first") and of_node("second"), command)
    os.kill(_actors()[0], signal.SIGKILL)
    killed = done()
    _wait(lambda: len(done()) >= len(killed) + 3, command)
    assert of_node("second"), "the node that is to be lost does nothing"
    assert len(done()) < _COUNT // _ROWS, "nothing is left to lose"
    _kill("second")
    lost = done()
    said, _ = command.communicate(timeout=_PATIENCE)
    assert command.returncode == 0, said
    assert f"{_COUNT} embeddings of 1280 values in {_COUNT // _ROWS} shards" in said
    found = done()
    assert {name: found[name] for name in lost} == lost, "a shard was written twice"
    ids, rows, _ = EmbeddingShards(out).sample(None)
    assert ids == [f"{number:04d}.png" for number in range(_COUNT)]

    alone = _spice("embed", photos, tmp_path / "alone", "--size", 64, address="")
    said, _ = alone.communicate(timeout=_PATIENCE)
    assert alone.returncode == 0, said
    expected = EmbeddingShards(tmp_path / "alone").sample(None)
    assert expected[0] == ids
    np.testing.assert_allclose(rows, expected[1], atol=0.05)
