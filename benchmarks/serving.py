"""Serving: images a second and latency of every exported format, and of the service under load.

    python -m benchmarks.serving RUN [--seconds 30] [--clients 1,8,32] > serving.json

RUN is a finished run of images that was exported (`spice export RUN`) and has files of other
formats below RUN/exports (`spice export RUN --format onnx,litert,openvino`). Every format is asked
in turn, round by round, on the same images, so that a busy machine slows all of them: look at the
ratios.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe

_BATCHES = (1, 32)
_SHORTEST = 1.0  # seconds of a turn


def formats(run: Path, model: Path) -> dict[str, Callable[[np.ndarray], Any]]:
    """What is compared: the SavedModel's `pixels`, and every file below RUN/exports."""
    import tensorflow as tf

    from spice_keras.serving.asked_formats import FILES
    from spice_keras.serving.client import _CLIENTS

    loaded = tf.saved_model.load(str(model))
    found: dict[str, Callable[[np.ndarray], Any]] = {
        "savedmodel": lambda x: loaded.signatures["pixels"](pixels=tf.constant(x))
    }
    for folder in sorted((run / "exports").iterdir()) if (run / "exports").is_dir() else []:
        name = folder.name.partition("-")[0]
        if name in FILES and name != "keras":
            found[folder.name] = _CLIENTS[name](str(folder / FILES[name]))
    return found


def in_process(asked: dict[str, Callable[[np.ndarray], Any]], side: int, rounds: int) -> Any:
    """Milliseconds of a batch, by format and batch size, round by round."""
    rng = np.random.default_rng(0)
    results: dict[str, dict[int, list[float]]] = {name: {} for name in asked}
    for batch in _BATCHES:
        images = rng.integers(0, 256, (batch, side, side, 3), np.uint8)
        for ask in asked.values():
            ask(images)
        for round_number in range(rounds):
            names = list(asked) if round_number % 2 == 0 else list(reversed(asked))
            for name in names:
                began, count = time.perf_counter(), 0
                while time.perf_counter() - began < _SHORTEST:
                    asked[name](images)
                    count += 1
                spent = (time.perf_counter() - began) / count
                results[name].setdefault(batch, []).append(1000.0 * spent)
    return {
        name: {
            str(batch): {
                "milliseconds": round(statistics.median(times), 2),
                "images_per_second": round(1000.0 * batch / statistics.median(times), 1),
                "speed_over_savedmodel": round(
                    statistics.median(
                        base / own
                        for base, own in zip(results["savedmodel"][batch], times, strict=True)
                    ),
                    2,
                ),
            }
            for batch, times in found.items()
        }
        for name, found in results.items()
    }


def _jpeg(seed: int) -> bytes:
    """A photograph-like file of 640 x 480 pixels."""
    import io

    from PIL import Image

    coarse = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


def directly(model: Path, seconds: float, batch: int) -> float:
    """Files a second through `serving_default` in this process, without HTTP."""
    import tensorflow as tf

    endpoint = tf.saved_model.load(str(model)).signatures["serving_default"]
    files = tf.constant([_jpeg(seed) for seed in range(batch)])
    endpoint(encoded_images=files)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        endpoint(encoded_images=files)
        count += batch
    return count / (time.perf_counter() - began)


def load(url: str, clients: int, seconds: float) -> dict[str, float]:
    """What so many clients get, each asking again as soon as it is answered; on loopback."""
    bodies = [
        json.dumps({"instances": [{"b64": base64.b64encode(_jpeg(seed)).decode()}]}).encode()
        for seed in range(8)
    ]
    times: list[float] = []
    ends = time.perf_counter() + seconds

    def client(number: int) -> None:
        place = number
        while time.perf_counter() < ends:
            began = time.perf_counter()
            with urllib.request.urlopen(f"{url}:predict", bodies[place % 8], timeout=60) as answer:
                answer.read()
            times.append(time.perf_counter() - began)
            place += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = time.perf_counter() - began
    ordered = np.sort(times)
    return {
        "requests_per_second": round(len(times) / spent, 1),
        "p50_ms": round(1000 * float(np.quantile(ordered, 0.5)), 1),
        "p99_ms": round(1000 * float(np.quantile(ordered, 0.99)), 1),
    }


def served(model: Path, clients: list[int], seconds: float) -> dict[str, Any]:
    """The service in a process of its own, under load, between two measurements without it."""
    before = directly(model, seconds / 3, 32)
    command = [sys.executable, "-m", "spice_keras.cli", "serve", str(model), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        if process.stderr is None:
            raise RuntimeError("no pipe")
        url = next(line for line in process.stderr if " at http" in line).split(" at ")[1].strip()
        load(url, 1, 1.0)
        found = {str(number): load(url, number, seconds) for number in clients}
        process.terminate()
        process.wait(60)
    after = directly(model, seconds / 3, 32)
    base = (before + after) / 2
    for result in found.values():
        result["share_of_in_process"] = round(result["requests_per_second"] / base, 2)
    return {"in_process_images_per_second": round(base, 1), "clients": found}


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--model", type=Path, help="The SavedModel; default: the run's own.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--clients", default="1,8,32")
    asked = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from spice_keras.run.results import exported_model
    from spice_keras.serving.facts import read_facts

    model = asked.model or exported_model(asked.run)
    side = read_facts(model).image_size
    if side is None:
        raise SystemExit("This run is one of embeddings; name a run of images.")
    result = {
        "machine": describe(),
        "side": side,
        "formats": in_process(formats(asked.run, model), side, asked.rounds),
        "service": served(model, [int(n) for n in asked.clients.split(",")], asked.seconds),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
