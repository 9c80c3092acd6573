"""A simulation of workers that decode and encode: it first repeats what 1, 2 and 3 of them do here.

python -m benchmarks.input_side FOLDER [--side 224] [--seconds 12] [--rounds 3]

Measured: processor seconds of an image's decoding and encoding in one thread; then the rate of one,
two and three worker processes together, and beside each what other programs take of the machine.
Simulated: the same workers, their threads sharing the cores evenly with each other and with the
other programs. Then a thousand machines that take shards: slow ones, one failure an hour, a storage
that all share. Results go to results/input_side.json, which `benchmarks.scale_table` reads.
"""

from __future__ import annotations

import argparse
import heapq
import json
import multiprocessing as mp
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median, pstdev
from typing import Any

import numpy as np

from benchmarks import machine

RESULT = Path(__file__).parent / "results" / "input_side.json"
THREADS, WINDOW, BATCH = 4, 32, 128
"""Of `EncodedSource.items` and `EmbeddingWriter`: decoding threads, items ahead, a batch."""
_WARM = 8  # images that are not counted
SLOW_SHARE, SLOW_SPEED = 0.05, 0.5
"""Assumed, not measured: one machine in twenty has half the speed."""
FAILURES_AN_HOUR, BACK_AFTER = 1.0, 300.0
"""As asked: one machine of the fleet fails each hour. Assumed: it is back after five minutes."""
STORAGE = 10e9
"""Assumed: bytes a second that all machines together can read."""
MACHINES, CORES, SHARD = 1000, 16, 10_000


@dataclass(frozen=True)
class Costs:
    """Processor seconds of an image in one thread.

    Attributes:
        decode: Mean of reading, decoding and resizing.
        decode_spread: Its standard deviation over its mean.
        encode: Mean of the encoder, in batches.
    """

    decode: float
    decode_spread: float
    encode: float


def _opened(folder: str, side: int) -> tuple[Any, Any]:
    from spice_keras.runtime import start_tensorflow

    start_tensorflow()
    from spice_keras.data.packing import encoded_source
    from spice_keras.data.sources import SourceOptions
    from spice_keras.run.encoder_choice import EncoderChoice

    encoder, facts = EncoderChoice(size=side).build()
    options = SourceOptions(path=folder, image_size=side, fit=facts["fit"])
    return encoded_source("folder", options), encoder


def _costs(folder: str, side: int, told: Any) -> None:
    """Time one thread: decoding one by one, then the encoder."""
    source, encoder = _opened(folder, side)
    seconds, images = [], []
    for row in range(min(_WARM + BATCH, len(source))):
        begin = time.thread_time()
        images.append(source._decode(row).image)
        seconds.append(time.thread_time() - begin)
    seconds, batch = seconds[_WARM:], np.stack(images[-BATCH:])
    encoder.predict_on_batch(batch)
    encodings = []
    for _ in range(9):
        begin = time.process_time()
        encoder.predict_on_batch(batch)
        encodings.append((time.process_time() - begin) / len(batch))
    told.put(Costs(mean(seconds), pstdev(seconds) / mean(seconds), median(encodings)))


def _worker(folder: str, side: int, seconds: float, ready: Any, told: Any) -> None:
    """Decode and encode as `spice embed` does, for a while; tells images a second."""
    from spice_keras.serving.embedding import image_batches

    source, encoder = _opened(folder, side)
    encoder.predict_on_batch(np.zeros((BATCH, side, side, 3), np.uint8))
    ready.wait()
    begin, done, passed = time.perf_counter(), 0, 0.0
    while passed < seconds:
        for _, batch in image_batches(source, slice(None), [], BATCH):
            encoder.predict_on_batch(batch)
            done += len(batch)
            passed = time.perf_counter() - begin
            if passed >= seconds:
                break
    told.put(done / passed)


def _others(seconds: float = 1.5) -> float:
    """How many threads of other programs compete for the cores, by the share one thread gets."""
    begin, spent = time.perf_counter(), time.thread_time()
    while time.perf_counter() - begin < seconds:
        sum(range(1000))
    share = (time.thread_time() - spent) / (time.perf_counter() - begin)
    return max(0.0, (os.cpu_count() or 1) / share - 1.0) if share < 0.97 else 0.0


def _in_processes(count: int, target: Any, *arguments: Any) -> list[Any]:
    context = mp.get_context("spawn")
    told = context.Queue()
    processes = [context.Process(target=target, args=(*arguments, told)) for _ in range(count)]
    for process in processes:
        process.start()
    found = [told.get(timeout=600) for _ in processes]
    for process in processes:
        process.join()
    return found


def measured(folder: str, side: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Costs of an image; and rates of 1, 2 and 3 workers with what else took the machine."""
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    (costs,) = _in_processes(1, _costs, folder, side)
    turns = []
    for number in range(rounds):
        for count in (1, 2, 3)[:: 1 if number % 2 == 0 else -1]:
            ready = mp.get_context("spawn").Barrier(count)
            before = _others()
            rates = _in_processes(count, _worker, folder, side, seconds, ready)
            others = (before + _others()) / 2
            turns.append({"workers": count, "rate": sum(rates), "others": others})
            print(json.dumps(turns[-1]), flush=True)
    return {"costs": vars(costs), "turns": turns}


@dataclass
class _Worker:
    """A pool that decodes into a window, and a thread that takes batches from it."""

    waiting: int = WINDOW
    decoding: list[float] = field(default_factory=list)
    decoded: int = 0
    taken: int = 0
    encoding: float = 0.0
    done: int = 0


def simulated(
    costs: Costs, workers: int, *, cores: float, others: float = 0.0, threads: int = 1,
    seconds: float = 30.0, seed: int = 0,
) -> float:  # fmt: skip
    """Images a second of some workers on one machine.

    Args:
        costs: Of an image.
        workers: Processes.
        cores: Of the machine.
        others: Threads of other programs, always busy.
        threads: That the encoder of a worker uses at most.
        seconds: Simulated.
        seed: Of the decoding times.
    """
    draws = np.random.default_rng(seed)
    sigma = np.sqrt(np.log1p(costs.decode_spread**2))
    pool = [_Worker() for _ in range(workers)]
    now = 0.0
    while now < seconds:
        for each in pool:
            _start(each, costs, draws, sigma)
        busy = sum(len(each.decoding) + threads * (each.encoding > 0) for each in pool)
        speed = min(1.0, cores / (busy + others))
        left = [work for each in pool for work in each.decoding]
        left += [each.encoding / threads for each in pool if each.encoding > 0]
        step = min(left)
        now += step / speed
        for each in pool:
            still = [work - step for work in each.decoding if work - step > 1e-12]
            each.decoded += len(each.decoding) - len(still)
            each.decoding = still
            if each.encoding > 0:
                each.encoding -= step * threads
                if each.encoding <= 1e-12:
                    each.encoding, each.done = 0.0, each.done + BATCH
    return sum(each.done for each in pool) / now


def _start(each: _Worker, costs: Costs, draws: np.random.Generator, sigma: float) -> None:
    """Give idle threads what they can do."""
    if each.encoding == 0:
        take = min(each.decoded, BATCH - each.taken)
        each.taken, each.decoded, each.waiting = (
            each.taken + take, each.decoded - take, each.waiting + take,
        )  # fmt: skip
        if each.taken == BATCH:
            each.taken, each.encoding = 0, BATCH * costs.encode
    while each.waiting and len(each.decoding) < THREADS:
        each.waiting -= 1
        drawn = np.exp(draws.normal(-(sigma**2) / 2, sigma)) if sigma else 1.0
        each.decoding.append(costs.decode * float(drawn))


def fleet(
    rate: float, machines: int, images: float, *, shared: bool, bytes_an_image: float,
    restart: float = BACK_AFTER, seed: int = 0,
) -> dict[str, float]:  # fmt: skip
    """Many machines that write shards: the last one's hours, and the share of work that was lost.

    Args:
        rate: Images a second of a machine.
        machines: How many.
        images: All of them.
        shared: Whether a machine takes the next shard that is left (Ray), or has a fixed part
            (`--part`); a fixed part waits for its machine.
        bytes_an_image: That the storage must give.
        restart: Seconds until a machine that failed is back.
        seed: Of the slow machines and the failures.
    """
    draws = np.random.default_rng(seed)
    rate = min(rate, STORAGE / bytes_an_image / machines)
    speeds = rate * np.where(draws.random(machines) < SLOW_SHARE, SLOW_SPEED, 1.0)
    shards = int(np.ceil(images / SHARD))
    parts = [len(range(number, shards, machines)) for number in range(machines)]
    began = [0.0] * machines
    left, working = [shards] if shared else parts, [False] * machines
    turns, events = [0] * machines, [(0.0, number, 0) for number in range(machines)]
    fails, now, lost, done = float(draws.exponential(3600 / FAILURES_AN_HOUR)), 0.0, 0.0, 0
    while done < shards:
        if fails < events[0][0]:  # whichever machine it is, what it was writing is lost
            number = int(draws.integers(machines))
            pile = 0 if shared else number
            if working[number]:
                left[pile] += 1
                lost += fails - began[number]
            working[number], turns[number] = False, turns[number] + 1
            heapq.heappush(events, (fails + restart, number, turns[number]))
            fails += float(draws.exponential(3600 / FAILURES_AN_HOUR))
            continue
        now, number, turn = heapq.heappop(events)
        if turn != turns[number]:
            continue  # it failed meanwhile
        pile = 0 if shared else number
        done += working[number]
        working[number] = left[pile] > 0
        began[number] = now
        if working[number]:
            left[pile] -= 1
            heapq.heappush(events, (now + SHARD / speeds[number], number, turn))
        elif done < shards:  # it waits for what a failure gives back
            heapq.heappush(events, (now + 60.0, number, turn))
    last = now
    ideal = images / (rate * machines)
    figures = {"hours": last / 3600, "efficiency": ideal / last, "lost_hours": lost / 3600}
    return {name: float(value) for name, value in figures.items()}


def compared(found: dict[str, Any]) -> list[dict[str, float]]:
    """Medians of what was measured beside what the simulation says of the same turns."""
    costs, cores, rows = Costs(**found["costs"]), os.cpu_count() or 1, []
    for count in (1, 2, 3):
        turns = [turn for turn in found["turns"] if turn["workers"] == count]
        said = [simulated(costs, count, cores=cores, others=turn["others"]) for turn in turns]
        rows.append(
            {
                "workers": count,
                "measured": median(turn["rate"] for turn in turns),
                "simulated": median(said),
                "others": median(turn["others"] for turn in turns),
            }
        )
    return rows


def main() -> None:
    """Measure, compare, and simulate a fleet."""
    parser = argparse.ArgumentParser(prog="benchmarks.input_side", description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--again", action="store_true", help="simulate from the stored results")
    asked = parser.parse_args()
    if asked.again:
        found = json.loads(RESULT.read_text())
    else:
        files = [path for path in Path(asked.folder).rglob("*") if path.is_file()]
        found = measured(asked.folder, asked.side, asked.seconds, asked.rounds)
        found |= {"side": asked.side, "machine": machine.describe()}
        found["bytes_an_image"] = mean(path.stat().st_size for path in files)
        found["date"] = time.strftime("%Y-%m-%d")
    found["compared"] = compared(found)
    costs = Costs(**found["costs"])
    found["one_machine"] = {
        str(workers): simulated(
            costs, workers, cores=CORES, threads=max(1, CORES // workers), seconds=20.0
        )
        for workers in (1, 2, 4, 8)
    }
    best = max(found["one_machine"].values())
    found["fleet"] = {
        f"{machines} machines, {'shards as they come' if shared else 'fixed parts'}": fleet(
            best, machines, 1e9, shared=shared, bytes_an_image=found["bytes_an_image"]
        )
        for machines in (1, 10, 100, MACHINES)
        for shared in (True, False)
    }
    RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for key in ("costs", "compared", "one_machine", "fleet"):
        print(key, json.dumps(found[key], indent=1))


if __name__ == "__main__":
    main()
