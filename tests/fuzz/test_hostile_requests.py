"""A few hundred hostile requests, over HTTP, against the service and the review page.

`python -m tools.hostile` sends ten thousand to a process and looks at its memory.
"""

from __future__ import annotations

import io
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

pytest.importorskip("starlette", reason="needs the extra review")
pytest.importorskip("uvicorn", reason="needs the extra review")

import uvicorn

from spice_keras.options import ServiceLimits
from spice_keras.progress import Loudness, Screen
from spice_keras.review.server import _listener, review_app
from spice_keras.review.session import ReviewSession
from spice_keras.serving.service import Service
from tests.fuzz.requests import Door, hostile, review_door, service_door, status_of
from tests.review.reviewed_run import finished
from tests.serving.test_rest import SIGNATURES

_COUNT = 300


@contextmanager
def _served(make: Any, **options: Any) -> Iterator[int]:
    listener = _listener(0)
    port = listener.getsockname()[1]
    config = uvicorn.Config(make(port), log_level="critical", access_log=False, **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


def _statuses(door: Door) -> Counter[int]:
    draw = random.Random(0)
    return Counter(status_of(hostile(draw, door), door.port) for _ in range(_COUNT))


def _only_refused(found: Counter[int]) -> None:
    assert all(status == 0 or 400 <= status < 500 for status in found), found
    assert found[0] < 0.1 * _COUNT, found  # closed without an answer: not a request at all
    assert found[400] > 20, found
    assert found[404] > 20, found


class _Versions:
    """Stands for a model that must not be asked."""

    name = "photos"

    class current:
        version, signatures = 3, SIGNATURES

        @staticmethod
        def ask(name: str, items: Any) -> None:
            raise AssertionError("a hostile request reached the model")

    def look_for_newer(self) -> bool:
        return False

    def states(self) -> list[dict[str, Any]]:
        return []


def test_the_service_refuses_them_all() -> None:
    said = io.StringIO()
    screen = Screen(Loudness.NORMAL, Console(file=said))
    limits = ServiceLimits(request_mb=1, waiting=8, items=64)
    service = Service(_Versions(), limits, screen=screen)  # type: ignore[arg-type]
    with _served(lambda port: service.app()) as port:
        _only_refused(_statuses(service_door(port, "photos")))
        assert (
            status_of(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", port) == 200
        )
    assert said.getvalue() == ""


def test_the_review_page_refuses_them_all(tmp_path: Path) -> None:
    session = ReviewSession(finished(tmp_path))
    with _served(lambda port: review_app(session, "token", port), lifespan="off") as port:
        _only_refused(_statuses(review_door(port, "token")))
        honest = f"GET /token/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
        assert status_of(honest.encode(), port) == 200
    assert session.log.version == 0
    assert not session.log.path.exists()
