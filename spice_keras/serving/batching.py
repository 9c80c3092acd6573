"""Dynamic batching: questions that wait together are asked together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from spice_keras.options import ServiceLimits
from spice_keras.serving.monitoring import Monitor
from spice_keras.serving.versions import LoadedModel

Outputs = dict[str, np.ndarray]


@dataclass(eq=False)
class _Job:
    """Items of one request, at most a batch of them."""

    model: LoadedModel
    endpoint: str
    items: np.ndarray
    answer: asyncio.Future[Outputs] = field(repr=False)

    def goes_with(self, other: _Job) -> bool:
        return (
            self.model is other.model
            and self.endpoint == other.endpoint
            and self.items.shape[1:] == other.items.shape[1:]
        )


class Batcher:
    """Asks a model about the items of several requests at once; within one event loop.

    Args:
        limits: Items of a batch, and the longest wait for it to fill.
        monitor: What counts.
    """

    def __init__(self, limits: ServiceLimits, monitor: Monitor) -> None:
        self._limits, self._monitor = limits, monitor
        self._waiting: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        # One thread asks: TensorFlow itself uses all cores.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def ask(self, model: LoadedModel, endpoint: str, items: np.ndarray) -> Outputs:
        """Ask an endpoint of a model.

        Args:
            model: The model.
            endpoint: The endpoint's name.
            items: Its input, any number of rows.

        Returns:
            The outputs by name.
        """
        size, loop = self._limits.batch_size, asyncio.get_running_loop()
        starts = range(0, max(1, len(items)), size)
        jobs = [
            _Job(model, endpoint, items[start : start + size], loop.create_future())
            for start in starts
        ]
        self._waiting.extend(jobs)
        self._arrived.set()
        parts = await asyncio.gather(*(job.answer for job in jobs))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    async def close(self) -> None:
        """End; what still waits is cancelled."""
        self._task.cancel()
        for job in self._waiting:
            job.answer.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            await self._answer(await self._batch())

    async def _batch(self) -> list[_Job]:
        """The jobs that go with the one that waited longest, as many as fit."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._limits.wait_ms / 1000.0
        while True:
            first = self._waiting[0]
            chosen: list[_Job] = []
            rows = 0
            for job in self._waiting:
                fits = rows + len(job.items) <= self._limits.batch_size
                if job.goes_with(first) and (fits or not chosen):
                    chosen.append(job)
                    rows += len(job.items)
            left = deadline - loop.time()
            if rows >= self._limits.batch_size or left <= 0:
                self._waiting = deque(job for job in self._waiting if job not in chosen)
                return [job for job in chosen if not job.answer.done()]
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), left)
            except TimeoutError:
                continue

    async def _answer(self, jobs: Sequence[_Job]) -> None:
        if not jobs:
            return
        loop = asyncio.get_running_loop()
        items = np.concatenate([job.items for job in jobs])
        try:
            model, endpoint = jobs[0].model, jobs[0].endpoint
            outputs = await loop.run_in_executor(self._pool, model.ask, endpoint, items)
        except Exception as error:  # TensorFlow's errors are many
            if len(jobs) == 1:
                if not jobs[0].answer.done():
                    jobs[0].answer.set_exception(error)
                return
            for job in jobs:  # one of them is to blame: the others get their answers
                await self._answer([job])
            return
        failed = np.sum(outputs["error"] != b"") if "error" in outputs else 0
        self._monitor.batch_ended(len(items), failed=int(failed))
        start = 0
        for job in jobs:
            rows = slice(start, start + len(job.items))
            start = rows.stop
            if not job.answer.done():
                job.answer.set_result({name: value[rows] for name, value in outputs.items()})
