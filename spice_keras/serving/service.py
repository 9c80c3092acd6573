"""The REST service of an exported model, as `spice serve` runs it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from spice_keras.errors import UserError
from spice_keras.options import ServiceLimits
from spice_keras.progress import Screen, silent_screen
from spice_keras.serving.batching import Batcher
from spice_keras.serving.monitoring import Monitor
from spice_keras.serving.rest import BadRequest, answer_body, metadata_body, read_question
from spice_keras.serving.versions import LoadedModel, ModelVersions

_MOST_HELD = 8  # of the largest request, all open ones together

Handler = Callable[[Request], Awaitable[Response]]


def _json(content: Any, status: int = 200) -> Response:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Response(body, status, media_type="application/json")


class Service:
    """A model's endpoints over HTTP.

    Args:
        versions: The model.
        limits: How much it takes on.
        screen: Where failures are told.
        monitor: What counts; the one the versions were loaded with.
    """

    def __init__(
        self,
        versions: ModelVersions,
        limits: ServiceLimits | None = None,
        *,
        screen: Screen | None = None,
        monitor: Monitor | None = None,
    ) -> None:
        self._versions, self._limits = versions, limits or ServiceLimits()
        self._screen, self._monitor = screen or silent_screen(), monitor or Monitor()
        self._open = self._held = 0
        # JSON takes many times its size while it is read: two bodies at once.
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="reader")
        self._batcher: Batcher | None = None

    def app(self) -> Starlette:
        """Return the application, for any ASGI server."""
        model = "/v1/models/{name}"
        version = model + "/versions/{version:int}"
        routes = [
            Route("/healthz", self._health, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
            Route("/monitoring/prometheus/metrics", self._metrics, methods=["GET"]),
        ]
        for path in (version, model):
            routes += [
                Route(f"{path}/metadata", self._told(self._metadata), methods=["GET"]),
                Route(f"{path}:predict", self._told(self._predict), methods=["POST"]),
                Route(path, self._told(self._status), methods=["GET"]),
            ]
        return Starlette(routes=routes, lifespan=self._lifespan)

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self._batcher = Batcher(self._limits, self._monitor)
        watching = asyncio.get_running_loop().create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await self._batcher.close()
            self._readers.shutdown(wait=False, cancel_futures=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._limits.poll_seconds)
            try:
                await asyncio.to_thread(self._versions.look_for_newer)
            except Exception as error:  # a version that breaks must not end the watch
                self._screen.warn(f"a new version could not be loaded: {error}")

    def _told(self, handler: Handler) -> Handler:
        """Turn what is wrong with a request into its status, and count it."""

        async def answered(request: Request) -> Response:
            began = time.monotonic()
            self._monitor.request_began()
            try:
                response = await handler(request)
            except BadRequest as error:
                response = _json({"error": str(error)}, error.status)
            except ClientDisconnect:
                response = _json({"error": "The client left."}, 400)
            except Exception as error:  # the service goes on, whatever one request does
                self._screen.warn(f"a request failed: {type(error).__name__}: {error}")
                response = _json({"error": "The model failed on this request."}, 500)
            finally:
                self._monitor.request_left()
            seconds = time.monotonic() - began
            self._monitor.request_ended(response.status_code, seconds=seconds)
            return response

        return answered

    def _model(self, request: Request) -> LoadedModel:
        name, version = request.path_params["name"], request.path_params.get("version")
        current = self._versions.current
        if name != self._versions.name or version not in (None, current.version):
            raise BadRequest(
                f"Servable not found: this service has {self._versions.name}, version "
                f"{current.version}.",
                404,
            )
        return current

    async def _predict(self, request: Request) -> Response:
        model = self._model(request)
        if self._open >= self._limits.waiting or self._batcher is None:
            raise BadRequest(f"{self._limits.waiting} requests wait already; come back.", 429)
        loop = asyncio.get_running_loop()
        body = bytearray()
        self._open += 1
        try:
            await self._fill(body, request)
            question = await loop.run_in_executor(
                self._readers, read_question, bytes(body), model.signatures, self._limits
            )
            outputs = await self._batcher.ask(model, question.signature.name, question.items)
            return _json(await loop.run_in_executor(self._readers, answer_body, outputs, question))
        finally:
            self._open -= 1
            self._held -= len(body)

    async def _fill(self, body: bytearray, request: Request) -> None:
        """Read a body; what all open requests hold together is bounded too."""
        most = self._limits.request_mb * 2**20
        large = BadRequest(f"The request is larger than {self._limits.request_mb} MiB.", 413)
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 18 or int(length) > most:
            raise large
        async for part in request.stream():
            body += part
            self._held += len(part)
            if len(body) > most:
                raise large
            if self._held > _MOST_HELD * most:
                raise BadRequest("The open requests are too large together; come back.", 429)

    async def _status(self, request: Request) -> Response:
        self._model(request)
        return _json({"model_version_status": self._versions.states()})

    async def _metadata(self, request: Request) -> Response:
        model = self._model(request)
        return _json(metadata_body(self._versions.name, model.version, model.signatures))

    async def _health(self, request: Request) -> Response:
        return _json({"status": "ok", "version": self._versions.current.version})

    async def _metrics(self, request: Request) -> Response:
        return PlainTextResponse(self._monitor.text(), media_type="text/plain; version=0.0.4")


class _Server(uvicorn.Server):
    """Uvicorn that ends by itself on SIGTERM and SIGINT, and does not raise them again."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._end) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _end(self, *_: object) -> None:
        self.should_exit = True


_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve_model(
    path: Path,
    address: tuple[str, int],
    *,
    limits: ServiceLimits | None = None,
    trust: bool = False,
    screen: Screen | None = None,
) -> None:
    """Serve a model until SIGTERM or SIGINT; open requests are answered first.

    Args:
        path: saved_models/NAME, or one version of it.
        address: Host and port; port 0 takes a free one.
        limits: How much it takes on.
        trust: Whether a graph may hold operations that do more than compute.
        screen: Where the address is told.

    Raises:
        UserError: If the model cannot be used, or the port is taken.
    """
    limits, screen, monitor = limits or ServiceLimits(), screen or silent_screen(), Monitor()
    listening = _listening(*address)
    with contextlib.closing(listening):
        versions = ModelVersions(path, trust=trust, screen=screen, monitor=monitor)
        app = Service(versions, limits, screen=screen, monitor=monitor).app()
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=limits.stop_seconds,
        )
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        screen.say(
            f"serve: {versions.name}, version {versions.current.version}, at "
            f"http://{shown}:{port}/v1/models/{versions.name}"
        )
        _Server(config).run(sockets=[listening])
    screen.say("serve: ended.")


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen()  # a client that was told the address waits rather than being refused
    except OSError as error:
        found.close()
        raise UserError(
            f"The service cannot listen at {host}, port {port}: {error.strerror or error}. Choose "
            "another with --port."
        ) from error
    return found
