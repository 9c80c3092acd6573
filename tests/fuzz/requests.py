"""Hostile requests over HTTP: bodies, paths and headers that no honest client sends."""

from __future__ import annotations

import contextlib
import json
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass

_NAMES = ("instances", "inputs", "signature_name", "b64", "kind", "group", "rows", "parts", "into")
_WORDS = (
    "",
    "..",
    "\0",
    "c0",
    "c99",
    "n1",
    "move",
    "merge",
    "split",
    "undo ",
    "/etc/passwd",
    "é" * 9,
)
_STEPS = (
    "..",
    "%2e%2e",
    "..%2f..",
    "%2e%2e%2f",
    ".",
    "",
    "%00",
    "%ff",
    "~",
    "etc",
    "passwd",
    "a" * 300,
)
_HEADERS = (
    "Content-Type: text/plain",
    "Content-Type: application/json; charset=\xff",
    "X-Forwarded-Host: evil",
    "Range: bytes=0-9999999999",
    "Cookie: " + "a=b; " * 200,
    "Accept: */*, " * 20,
)


@dataclass(frozen=True)
class Door:
    """A server that is asked.

    Attributes:
        host: What its requests call it, with the port.
        port: Where it listens, on this machine.
        posts: The path that takes bodies.
        places: Paths that steps and queries are put behind.
        forbidden: Header lines, each of which it must refuse whatever is asked.
    """

    host: str
    port: int
    posts: str
    places: tuple[str, ...]
    forbidden: tuple[str, ...] = ()


def service_door(port: int, name: str) -> Door:
    """The door of `spice serve`."""
    model = f"/v1/models/{name}"
    places = ("/", "/v1/", "/v1/models/", f"{model}/versions/", f"{model}/x/", f"{model}x")
    return Door(f"127.0.0.1:{port}", port, f"{model}:predict", places)


def review_door(port: int, token: str) -> Door:
    """The door of `spice review`."""
    home = f"/{token}"
    places = ("/", "/wrong/", f"/{token[:-1]}/", f"{home}/x/", f"{home}/thumb/", f"{home}/image/")
    places += (f"{home}/api/", f"{home}/api/item/", f"{home}/api/split?parts=", f"{home}/page/")
    forbidden = ("Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site")
    return Door(f"127.0.0.1:{port}", port, f"{home}/api/edit", places, forbidden)


def hostile(draw: random.Random, door: Door) -> bytes:
    """Draw one request that must be refused."""
    kinds: tuple[Callable[[random.Random, Door], bytes], ...] = (_posted, _posted, _path, _raw)
    if door.forbidden:
        kinds += (_foreign,)
    return draw.choice(kinds)(draw, door)


def _request(method: str, path: str, host: str, headers: tuple[str, ...], body: bytes) -> bytes:
    lines = (f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers)
    length = f"Content-Length: {len(body)}"
    return "\r\n".join((*lines, length, "", "")).encode("latin-1", "replace") + body


def _posted(draw: random.Random, door: Door) -> bytes:
    kind = "Content-Type: application/json"
    return _request("POST", door.posts, door.host, (kind,), _body(draw))


def _body(draw: random.Random) -> bytes:
    """Bytes that are no JSON, or JSON of another shape."""
    fields = {draw.choice(_NAMES): _value(draw, 4) for _ in range(3)}
    fields |= {name: [fields[name], None] for name in _NAMES[:2] if name in fields}  # never empty
    whole = json.dumps({"zz": None} | fields)
    ways: tuple[Callable[[], bytes], ...] = (
        whole.encode,
        lambda: whole.encode()[: draw.randrange(len(whole))],
        lambda: draw.randbytes(draw.randrange(2000)),
        lambda: b"[" * draw.randrange(1, 50_000),
        lambda: b'{"instances":' * draw.randrange(1, 5_000),
        lambda: b'{"instances": [' + b"9" * draw.randrange(5000) + b"e999]}",
        lambda: b'{"instances": [{"b64": "' + draw.randbytes(30) + b'"}]}',
        lambda: b'{"kind": "move", "rows": [' + b"1," * draw.randrange(20_000) + b"-1]}",
        # In a list: a dictionary may be an honest question in these letters too.
        lambda: json.dumps([_value(draw, 3)]).encode(draw.choice(("utf-16", "utf-32"))),
        lambda: b"x" * draw.choice((10, 100_000, 700_000)),
    )
    return draw.choice(ways)()


def _value(draw: random.Random, depth: int) -> object:
    if depth and draw.random() < 0.5:
        if draw.random() < 0.5:
            return [_value(draw, depth - 1) for _ in range(draw.randrange(4))]
        return {draw.choice(_NAMES): _value(draw, depth - 1) for _ in range(draw.randrange(4))}
    numbers = (0, -1, 1e308, 2**70, float("nan"), float("inf"))
    return draw.choice((None, True, *numbers, *_WORDS))


def _path(draw: random.Random, door: Door) -> bytes:
    steps = "/".join(draw.choice(_STEPS) for _ in range(draw.randrange(1, 12)))
    # The last step is nothing that any server has.
    path = f"{draw.choice(door.places)}{steps}/zz{draw.choice(('', '?q=..', '#x', '%0d%0a'))}"
    method = draw.choice(("GET", "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "BREW"))
    return _request(method, path, door.host, (draw.choice(_HEADERS),), b"")


def _raw(draw: random.Random, door: Door) -> bytes:
    """Bytes that are no request."""
    whole = bytearray(_path(draw, door))
    for _ in range(draw.randrange(1, 8)):
        whole[draw.randrange(12)] = draw.randrange(256)
    return draw.choice(
        (bytes(whole), draw.randbytes(300) + b"\r\n\r\n", b"\r\n\r\n" + bytes(whole))
    )


def _foreign(draw: random.Random, door: Door) -> bytes:
    """What another page asks, or somebody who calls this machine by another name."""
    path = draw.choice(("/", door.places[3], door.posts))
    if draw.random() < 0.5:
        return _request("GET", path, draw.choice(("evil.example", "localhost", "")), (), b"")
    return _request("POST", path, door.host, (draw.choice(door.forbidden),), b"{}")


def status_of(request: bytes, port: int) -> int:
    """Send a request and return the status of the answer, 0 if the connection was closed.

    Raises:
        TimeoutError: If there is no answer in 20 seconds.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        with contextlib.suppress(ConnectionError):  # it was refused before all was sent
            connection.sendall(request)
        try:
            head = connection.recv(64)
        except TimeoutError:  # the server waits for the rest of what is not a whole request
            head = _after_the_end(connection)
        except ConnectionError:
            head = b""
    parts = head.split(b" ", 2)
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0


def _after_the_end(connection: socket.socket) -> bytes:
    connection.settimeout(20)
    try:
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(64)
    except ConnectionError:
        return b""
