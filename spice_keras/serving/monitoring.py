"""Counters and histograms of a service, as Prometheus reads them."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class _Histogram:
    """Counts of values at or below each bound."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def lines(self, name: str) -> list[str]:
        found, sum_so_far = [], 0
        for bound, count in zip((*self.bounds, "+Inf"), self.counts, strict=True):
            sum_so_far += count
            found.append(f'{name}_bucket{{le="{bound}"}} {sum_so_far}')
        return [*found, f"{name}_sum {self.total:.6f}", f"{name}_count {sum_so_far}"]


class Monitor:
    """What a service counts; safe to use from several threads.

    Example:
        >>> monitor = Monitor()
        >>> monitor.request_ended(200, seconds=0.02)
        >>> 'spice_requests_total{status="200"} 1' in monitor.text()
        True
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._statuses: defaultdict[int, int] = defaultdict(int)
        self._items = self._failed = self._open = 0
        self._version = 0
        self._seconds, self._batches = _Histogram(SECONDS), _Histogram(SIZES)

    def request_began(self) -> None:
        """Count a request as open."""
        with self._lock:
            self._open += 1

    def request_left(self) -> None:
        """Count it as no longer open."""
        with self._lock:
            self._open -= 1

    def request_ended(self, status: int, *, seconds: float) -> None:
        """Count a request by its HTTP status, and how long it took."""
        with self._lock:
            self._statuses[status] += 1
            self._add(self._seconds, seconds)

    def batch_ended(self, items: int, *, failed: int) -> None:
        """Count a batch, and the images in it that could not be decoded."""
        with self._lock:
            self._items += items
            self._failed += failed
            self._add(self._batches, items)

    def version_loaded(self, version: int) -> None:
        """Note the version that answers."""
        with self._lock:
            self._version = version

    @staticmethod
    def _add(histogram: _Histogram, value: float) -> None:
        histogram.counts[bisect_left(histogram.bounds, value)] += 1
        histogram.total += value

    def text(self) -> str:
        """Return all of it in Prometheus's text format."""
        with self._lock:
            parts = {
                ("spice_requests_total", "counter", "Requests by HTTP status."): [
                    f'spice_requests_total{{status="{status}"}} {count}'
                    for status, count in sorted(self._statuses.items())
                ],
                ("spice_requests_open", "gauge", "Requests that are being answered."): [
                    f"spice_requests_open {self._open}"
                ],
                ("spice_items_total", "counter", "Items the model was asked about."): [
                    f"spice_items_total {self._items}"
                ],
                ("spice_items_failed_total", "counter", "Items that gave an error."): [
                    f"spice_items_failed_total {self._failed}"
                ],
                ("spice_model_version", "gauge", "The version that answers."): [
                    f"spice_model_version {self._version}"
                ],
                ("spice_request_seconds", "histogram", "How long requests took."): (
                    self._seconds.lines("spice_request_seconds")
                ),
                ("spice_batch_items", "histogram", "Items asked about at once."): (
                    self._batches.lines("spice_batch_items")
                ),
            }
        lines: list[str] = []
        for (name, kind, words), values in parts.items():
            lines += [f"# HELP {name} {words}", f"# TYPE {name} {kind}", *values]
        return "\n".join(lines) + "\n"
