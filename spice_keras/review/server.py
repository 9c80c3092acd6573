"""The review page's server: this machine alone, a secret in the address, nothing outside the run.

Every address begins with a random token, without which there is nothing but 404. Requests that name
another host are refused (a page elsewhere cannot reach in by a name that leads here), and so are
changes that another page asks for. Images are named by their row in the run; no address is ever
made into a path.
"""

from __future__ import annotations

import io
import json
import re
import secrets
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from importlib.resources import files
from typing import Any

import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from spice_keras.errors import UserError
from spice_keras.progress import Screen
from spice_keras.review.session import Look, ReviewSession
from spice_keras.review.state import CannotApply

LARGEST_BODY = 4 * 2**20
THUMBNAIL_SIDE = 160
_CACHED_BYTES = 64 * 2**20
_LOSSLESS_SIDE = 32
_PNG = b"\x89PNG"
_KEPT = "private, max-age=86400"
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")


class _Refused(Exception):
    """A request that is answered with a status and one sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Guard:
    """Lets through what this page asks for itself, and sends its headers with every answer.

    Args:
        app: What it guards.
        token: The first part of every address.
        hosts: What a request may call this machine, with the port.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: frozenset[str]) -> None:
        self.app, self.token, self.hosts = app, token, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                extra = [(k.encode(), v.encode()) for k, v in _HEADERS.items()]
                names = {name for name, _ in message["headers"]}
                if b"cache-control" not in names:
                    extra.append((b"cache-control", b"no-store"))
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, with_headers)
            return
        inner = dict(scope)
        inner["path"] = scope["path"][len(self.token) + 1 :]
        inner.pop("raw_path", None)
        await self.app(inner, receive, with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = [(k.lower(), v.decode("latin-1")) for k, v in scope["headers"]]
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or hosts[0] not in self.hosts:
            return PlainTextResponse("This server answers to 127.0.0.1 only.", 403)
        own = {f"http://{host}" for host in self.hosts}
        origins = [value for name, value in headers if name == b"origin"]
        sites = [value for name, value in headers if name == b"sec-fetch-site"]
        if any(origin not in own for origin in origins):
            return PlainTextResponse("Requests of other pages are refused.", 403)
        first, _, rest = scope["path"].removeprefix("/").partition("/")
        if not secrets.compare_digest(first.encode(), self.token.encode()):
            return PlainTextResponse("Open the address that `spice review` has printed.", 404)
        if any(site not in ("same-origin", "none") for site in sites) and (
            rest or scope["method"] not in ("GET", "HEAD")  # a link to the page may be followed
        ):
            return PlainTextResponse("Requests of other pages are refused.", 403)
        return None


class Thumbnails:
    """Small images, made on demand; those asked for last are kept, up to 64 MiB.

    Args:
        session: The run.
    """

    def __init__(self, session: ReviewSession) -> None:
        self.session = session
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def num_bytes(self) -> int:
        """Bytes that are kept."""
        return self._bytes

    def get(self, row: int, side: int) -> bytes:
        """Return an image at most `side` pixels large, as JPEG, or as PNG if it is tiny."""
        with self._lock:
            if (row, side) in self._kept:
                self._kept.move_to_end((row, side))
                return self._kept[row, side]
        data = _encoded(self.session.image(row), side)
        with self._lock:
            if (row, side) not in self._kept:
                self._kept[row, side] = data
                self._bytes += len(data)
            while self._bytes > _CACHED_BYTES:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return data


def _encoded(image: np.ndarray, side: int) -> bytes:
    picture, buffer = Image.fromarray(image), io.BytesIO()
    if max(image.shape[:2]) <= _LOSSLESS_SIDE:
        picture.save(buffer, format="PNG")
        return buffer.getvalue()
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    picture.save(buffer, format="JPEG", quality=85)
    return buffer.getvalue()


def review_app(session: ReviewSession, token: str, port: int) -> ASGIApp:
    """Make the application of one run.

    Args:
        session: The run under review.
        token: The first part of every address.
        port: Where it listens.

    Returns:
        An ASGI application.
    """
    api, thumbnails, pages = _Api(session), Thumbnails(session), _pages()
    largest = max(session.image(0).shape[:2])

    def page(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        return pages.get(name) or _plain(404, "There is no such page.")

    def picture(side: int) -> Callable[[Request], Response]:
        def send(request: Request) -> Response:
            data = thumbnails.get(_row(request.path_params["row"], session), side)
            kind = "image/png" if data.startswith(_PNG) else "image/jpeg"
            return Response(data, media_type=kind, headers={"cache-control": _KEPT})

        return _answered(send)

    reads = [
        Route(f"/api/{name}", _answered(getattr(api, name)), methods=["GET"])
        for name in ("state", "items", "map", "shares", "split", "questions")
    ]
    routes = [
        *reads,
        Route("/api/item/{row:str}", _answered(api.item), methods=["GET"]),
        Route("/api/edit", api.edit, methods=["POST"]),
        Route("/thumb/{row:str}", picture(THUMBNAIL_SIDE), methods=["GET"]),
        Route("/image/{row:str}", picture(largest), methods=["GET"]),
        Route("/", page, methods=["GET"]),
        Route("/{name:str}", page, methods=["GET"]),
    ]
    hosts = frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})
    return Guard(Starlette(routes=routes), token, hosts)


class _Api:
    """What the page asks, answered in JSON."""

    def __init__(self, session: ReviewSession) -> None:
        self.session = session

    def state(self, request: Request) -> Any:
        """All clusters; only the version if nothing changed since the one that is named."""
        self.session.log.refresh()
        if request.query_params.get("since") == str(self.session.log.version):
            return {"version": self.session.log.version}
        return self.session.overview()

    def items(self, request: Request) -> Any:
        asked = request.query_params
        look = Look(
            asked.get("of", "all"),
            asked.get("q", "")[:500],
            asked.get("sort", "order"),
            asked.get("order") == "desc",
        )
        return {"rows": self.session.listed(look).tolist()}

    def item(self, request: Request) -> Any:
        return self.session.described(_row(request.path_params["row"], self.session))

    def map(self, _: Request) -> Any:
        return self.session.map

    def shares(self, _: Request) -> Any:
        return self.session.shares()

    def split(self, request: Request) -> Any:
        parts = _number(request.query_params.get("parts", ""))
        return {"parts": self.session.parts(request.query_params.get("group", ""), parts)}

    def questions(self, _: Request) -> Any:
        return {"questions": [asdict(question) for question in self.session.asked()]}

    async def edit(self, request: Request) -> Response:
        """Write down one edit, which comes as JSON; the answer is the new version."""
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return _plain(415, "An edit is sent as application/json.")
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > LARGEST_BODY:
                return _plain(413, "An edit has at most 4 MiB.")
        return await run_in_threadpool(_answered(self._edited), bytes(body))

    def _edited(self, body: bytes) -> Any:
        try:
            wish = json.loads(body)
        except (ValueError, RecursionError):
            raise _Refused(400, "An edit is one JSON object.") from None
        if not isinstance(wish, dict):
            raise _Refused(400, "An edit is one JSON object.")
        entry = self.session.edit(wish)
        return {"version": self.session.log.version, "number": entry.number}


def _answered(answer: Callable[[Any], Any]) -> Callable[[Any], Response]:
    """Turn what a function returns into an answer, and what it refuses into a status."""

    def endpoint(asked: Any) -> Response:
        try:
            found = answer(asked)
        except _Refused as refusal:
            return _plain(refusal.status, str(refusal))
        except CannotApply as error:
            return _plain(409, f"{error}.")
        except ValueError as error:
            return _plain(400, f"{error}.")
        except UserError as error:
            return _plain(409, str(error))
        except OSError as error:  # no space left
            return _plain(507, f"The edit was not kept: {error.strerror or error}.")
        return found if isinstance(found, Response) else JSONResponse(found)

    return endpoint


def _plain(status: int, message: str) -> Response:
    return PlainTextResponse(message, status)


def _number(text: str) -> int:
    if _NUMBER.fullmatch(text) is None:
        raise _Refused(400, "Expected a whole number.")
    return int(text)


def _row(text: str, session: ReviewSession) -> int:
    """The row of an image; there is nothing else in an address."""
    if _NUMBER.fullmatch(text) is None or int(text) >= len(session.log.start.ids):
        raise _Refused(404, "There is no such image.")
    return int(text)


def _pages() -> dict[str, Response]:
    """The files of the page, read once; no other file is ever sent."""
    found = {}
    for file in files("spice_keras.review").joinpath("page").iterdir():
        kind = _TYPES.get(file.name.rpartition(".")[2])
        if kind is not None:
            found[file.name] = Response(file.read_bytes(), media_type=kind)
    return found


def serve_review(
    session: ReviewSession, *, port: int, screen: Screen, opened: Callable[[str], object] | None
) -> None:
    """Serve the page until it is interrupted.

    Args:
        session: The run under review.
        port: Where to listen; 0 for any free port.
        screen: Where the address is said.
        opened: Called with the address once the port is open; None for nothing.

    Raises:
        UserError: If the port is taken.
    """
    import uvicorn

    listener = _listener(port)
    token = secrets.token_urlsafe(24)
    taken = listener.getsockname()[1]
    address = f"http://127.0.0.1:{taken}/{token}/"
    config = uvicorn.Config(
        review_app(session, token, taken),
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=2,
        limit_concurrency=200,
    )
    screen.say(f"review: {address}")
    screen.say("Every edit is kept at once in edits.jsonl. Ctrl-C ends the server.")
    if opened is not None:
        opened(address)
    with listener:
        uvicorn.Server(config).run(sockets=[listener])


def _listener(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise UserError(
            f"Port {port} cannot be opened: {error.strerror or error}. Name another with --port, "
            "or leave --port out for a free one."
        ) from error
    return listener
