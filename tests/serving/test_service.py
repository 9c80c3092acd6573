"""The service: TensorFlow Serving's paths, batches, limits, new versions, and a stop in order."""

from __future__ import annotations

import base64
import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the extra serve is not installed")
pytest.importorskip("uvicorn", reason="the extra serve is not installed")
pytest.importorskip("httpx", reason="the test client of starlette needs httpx")

from starlette.testclient import TestClient

from spice_keras.errors import UserError
from spice_keras.options import ServiceLimits
from spice_keras.progress import silent_screen
from spice_keras.serving.monitoring import Monitor
from spice_keras.serving.service import Service, serve_model
from spice_keras.serving.versions import ModelVersions
from tests.models.synthetic import clusterer, images
from tests.serving.image_files import encoded, picture
from tests.serving.test_rest import SIGNATURES

_B64 = {"b64": base64.b64encode(encoded(picture(), "PNG")).decode()}


class _Model:
    """Stands for a loaded version: the mean of each item, slowly."""

    version, signatures = 3, SIGNATURES

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def ask(self, name: str, items: np.ndarray) -> dict[str, np.ndarray]:
        self.sizes.append(len(items))
        time.sleep(0.02)
        if name == "rows" and (items == 13).any():
            raise ValueError("a row that the model cannot take")
        if items.dtype == object:
            values = np.array([len(item) for item in items])
        else:
            values = items.reshape(len(items), -1).astype(float).mean(axis=1)
        error = np.array([b"" if value else b"empty" for value in values], object)
        return {"cluster": values, "error": error}


class _Versions:
    """Stands for the versions on disk."""

    name = "photos"

    def __init__(self) -> None:
        self.current = _Model()

    def look_for_newer(self) -> bool:
        return False

    def states(self) -> list[dict[str, Any]]:
        return [{"version": "3", "state": "AVAILABLE"}]


_LIMITS = ServiceLimits(request_mb=1, waiting=8, items=64, batch_size=4, wait_ms=20)
_PREDICT = "/v1/models/photos:predict"


@pytest.fixture
def versions() -> _Versions:
    return _Versions()


@pytest.fixture
def client(versions: _Versions) -> Iterator[TestClient]:
    service = Service(versions, _LIMITS)  # type: ignore[arg-type]
    with TestClient(service.app(), raise_server_exceptions=False) as found:
        yield found


def test_paths_of_tensorflow_serving(client: TestClient) -> None:
    for path in ("/v1/models/photos", "/v1/models/photos/versions/3"):
        assert client.get(path).json()["model_version_status"][0]["version"] == "3"
        assert client.get(f"{path}/metadata").json()["model_spec"]["version"] == "3"
        answer = client.post(f"{path}:predict", json={"instances": [_B64]})
        assert answer.json() == {"predictions": [{"cluster": len(_png()), "error": ""}]}
    assert client.get("/healthz").json() == {"status": "ok", "version": 3}


def _png() -> bytes:
    return base64.b64decode(_B64["b64"])


@pytest.mark.parametrize(
    "path",
    ["/v1/models/other", "/v1/models/photos/versions/2", "/v1/models/photos/versions/x", "/"],
)
def test_what_is_not_there_is_not_found(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404
    assert client.post(f"{path}:predict", json={"instances": []}).status_code == 404


def test_hostile_requests_get_4xx(client: TestClient) -> None:
    large = client.post(_PREDICT, content=b"x" * (2**20 + 1))
    assert (large.status_code, "larger than 1 MiB" in large.json()["error"]) == (413, True)
    streamed = client.post(_PREDICT, content=iter([b"x" * 2**19] * 3))
    assert streamed.status_code == 413
    lying = client.post(_PREDICT, content=b"{}", headers={"content-length": "9" * 30})
    assert lying.status_code == 413
    for body in (b"", b"{", b"[]", b'{"instances": [{"b64": "%"}]}', b"\0" * 100):
        assert client.post(_PREDICT, content=body).status_code == 400
    assert client.get(_PREDICT).status_code == 404  # no model of this name
    assert client.post(_PREDICT, json={"instances": [_B64]}).status_code == 200


def test_a_model_that_fails_is_told_and_goes_on(client: TestClient) -> None:
    rows = {"instances": [[13, 13, 13]], "signature_name": "rows"}
    answer = client.post(_PREDICT, json=rows)
    assert answer.status_code == 500
    assert "Traceback" not in answer.text
    assert client.post(_PREDICT, json={"instances": [_B64]}).status_code == 200


def _at_once(client: TestClient, bodies: list[Any]) -> list[Any]:
    answers: list[Any] = [None] * len(bodies)

    def ask(place: int) -> None:
        answers[place] = client.post(_PREDICT, json=bodies[place])

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_requests_that_wait_together_are_asked_together(
    client: TestClient, versions: _Versions
) -> None:
    bodies = [{"instances": [[n, n, n]], "signature_name": "rows"} for n in range(1, 9)]
    bodies[3]["instances"] = [[13, 13, 13]]  # alone to blame
    answers = _at_once(client, bodies)
    assert [answer.status_code for answer in answers] == [200] * 3 + [500] + [200] * 4
    clusters = [a.json()["predictions"][0]["cluster"] for a in answers if a.status_code == 200]
    assert clusters == [1, 2, 3, 5, 6, 7, 8]
    sizes = versions.current.sizes
    assert max(sizes) > 1
    assert max(sizes) <= _LIMITS.batch_size


def test_a_large_request_is_asked_in_parts(client: TestClient, versions: _Versions) -> None:
    rows = [[n, n, n] for n in range(100, 110)]
    answer = client.post(_PREDICT, json={"inputs": rows, "signature_name": "rows"})
    assert answer.json()["outputs"]["cluster"] == list(range(100, 110))
    assert max(versions.current.sizes) == 4
    empty = client.post(_PREDICT, json={"instances": []})
    assert empty.json() == {"predictions": []}


def test_more_requests_than_may_wait_are_told_to_come_back(client: TestClient) -> None:
    answers = _at_once(client, [{"instances": [_B64]}] * 40)
    statuses = {answer.status_code for answer in answers}
    assert 200 in statuses
    assert statuses <= {200, 429}


def test_what_open_requests_hold_together_is_bounded(versions: _Versions) -> None:
    service = Service(versions, _LIMITS)  # type: ignore[arg-type]
    with TestClient(service.app()) as client:
        for held, status in ((0, 200), (8 * 2**20, 429), (0, 200)):
            service._held = held
            assert client.post(_PREDICT, json={"instances": [_B64]}).status_code == status
            assert service._held == held


def test_metrics_count(client: TestClient) -> None:
    client.post(_PREDICT, json={"instances": [_B64, {"b64": ""}]})
    client.post(_PREDICT, content=b"{")
    text = client.get("/metrics").text
    for line in (
        'spice_requests_total{status="200"} 1', 'spice_requests_total{status="400"} 1',
        "spice_items_total 2", "spice_items_failed_total 1", "spice_requests_open 0",
        "spice_request_seconds_count 2", 'spice_batch_items_bucket{le="2"} 1',
    ):  # fmt: skip
        assert line in text.splitlines()
    assert client.get("/monitoring/prometheus/metrics").status_code == 200


def test_a_real_model_answers_and_a_newer_version_takes_over(
    exported: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "1").symlink_to(exported / "1")
    versions = ModelVersions(folder, trust=False, screen=silent_screen(), monitor=Monitor())
    given = images(3)
    expected = clusterer()(given)
    with TestClient(Service(versions, _LIMITS).app()) as client:
        body = {"inputs": given.tolist(), "signature_name": "pixels"}
        told = client.post(_PREDICT, json=body).json()["outputs"]
        np.testing.assert_allclose(told["probabilities"], expected["probabilities"], atol=1e-5)
        files = [{"b64": base64.b64encode(encoded(picture(), "PNG")).decode()}, {"b64": "AAAA"}]
        first, second = client.post(_PREDICT, json={"instances": files}).json()["predictions"]
        assert first["name"] in ("a", "b", "c")
        assert (first["error"], second["cluster"]) == ("", -1)
        assert second["error"].startswith("damaged")
        assert not versions.look_for_newer()
        (folder / "7").mkdir()
        (folder / "7" / "saved_model.pb").write_bytes(b"\xff")
        assert not versions.look_for_newer()  # not a model: the old one goes on
        states = {state["version"]: state["state"] for state in versions.states()}
        assert states == {"1": "AVAILABLE", "7": "END"}
        (folder / "12").symlink_to(exported / "1")
        assert versions.look_for_newer()
        assert client.get("/healthz").json()["version"] == 12


def test_what_cannot_be_served_is_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no version of a model"):
        serve_model(tmp_path, ("127.0.0.1", 0))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match=r"cannot listen .* Choose another with --port"):
            serve_model(tmp_path, taken.getsockname())


@pytest.mark.integration
def test_the_command_answers_and_ends_in_order(exported: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "spice_keras.cli", "serve", str(exported), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        try:
            _ask_and_end(process)
        finally:
            process.kill()


def _ask_and_end(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert "serve: photos, version 1, at http://127.0.0.1:" in line
    url = line.split(" at ")[1].strip()
    body = json.dumps({"instances": [_B64]}).encode()
    with urllib.request.urlopen(f"{url}:predict", body, timeout=60) as answer:
        assert json.load(answer)["predictions"][0]["error"] == ""
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{url}2", timeout=60)
    process.send_signal(signal.SIGTERM)
    assert "serve: ended." in process.stdout.read()
    assert process.wait(60) == 0
