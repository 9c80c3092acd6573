"""The review's server: what it answers, and that it answers nobody else."""

from __future__ import annotations

import io
import json
import random
import socket
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spice_keras.errors import UserError
from spice_keras.progress import silent_screen

pytest.importorskip("starlette", reason="needs the extra review")
pytest.importorskip("uvicorn", reason="needs the extra review")
pytest.importorskip("httpx2", reason="starlette's test client needs httpx2")

from starlette.testclient import TestClient

from spice_keras.review import server as server_module
from spice_keras.review.server import LARGEST_BODY, Thumbnails, review_app, serve_review
from spice_keras.review.session import ReviewSession
from spice_keras.run.context import Context
from tests.review.reviewed_run import finished
from tests.stages.made_run import COUNT, make_context

TOKEN, PORT = "secret-token", 8765
HOME = f"http://127.0.0.1:{PORT}"


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return finished(tmp_path_factory.mktemp("reviewed"), np.linspace(0.5, 0.99, COUNT))


@pytest.fixture
def session(context: Context) -> Iterator[ReviewSession]:
    yield ReviewSession(context)
    (context.run.path / "edits.jsonl").unlink(missing_ok=True)


@pytest.fixture
def client(session: ReviewSession) -> TestClient:
    return TestClient(review_app(session, TOKEN, PORT), base_url=f"{HOME}/{TOKEN}/")


def edit(client: TestClient, **wish: Any) -> Any:
    return client.post("api/edit", json=wish)


def counts(client: TestClient) -> dict[str, int]:
    state = client.get("api/state").json()
    found = {group["key"]: group["count"] for group in state["groups"]}
    assert sum(found.values()) + state["excluded"] == COUNT
    return found


def test_the_page_and_its_headers(client: TestClient) -> None:
    page = client.get("")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    for name in ("app.js", "style.css", "icon.svg"):
        assert name in page.text
        assert client.get(name).status_code == 200
    assert client.get("app.js").headers["content-type"].startswith("text/javascript")
    assert "http://" not in page.text
    assert "https://" not in page.text


def test_every_kind_of_edit(client: TestClient) -> None:
    assert counts(client) == {"c0": 12, "c1": 12, "c2": 12}
    assert edit(client, kind="rename", group="c0", name="reds").json() == {
        "version": 1,
        "number": 1,
    }
    edit(client, kind="merge", groups=["c0", "c1"], into="c0")
    assert counts(client) == {"c0": 24, "c2": 12}
    edit(client, kind="undo")
    edit(client, kind="move", rows=[0, 3], group="c1")
    edit(client, kind="new", rows=[1], name="one")
    edit(client, kind="exclude", rows=[2])
    assert counts(client) == {"c0": 10, "c1": 13, "c2": 11, "n1": 1}
    parts = client.get("api/split", params={"group": "c1", "parts": 3}).json()["parts"]
    assert sorted(row for part in parts for row in part) == sorted(
        client.get("api/items?of=group:c1").json()["rows"]
    )
    assert edit(client, kind="split", group="c1", parts=parts).status_code == 200
    assert len(counts(client)) == 6
    assert edit(client, kind="check", rows=[5]).status_code == 200
    assert edit(client, kind="distinct", groups=["c0", "c2"]).status_code == 200
    assert edit(client, kind="whole", group="c0").status_code == 200
    while edit(client, kind="undo").status_code == 200:
        counts(client)
    assert counts(client) == {"c0": 12, "c1": 12, "c2": 12}
    while edit(client, kind="redo").status_code == 200:
        counts(client)
    assert len(counts(client)) == 6


def test_new_clusters_never_share_a_key(client: TestClient, session: ReviewSession) -> None:
    for name in "ab":
        edit(client, kind="new", rows=[0], name=name)
        edit(client, kind="undo")
    edit(client, kind="new", rows=[0], name="c")
    assert session.state.key_of(0) == "n3"


def test_lists_sort_and_search(client: TestClient) -> None:
    def rows(**look: str) -> list[int]:
        return client.get("api/items", params=look).json()["rows"]

    assert rows(of="group:c1") == list(range(1, COUNT, 3))
    assert rows(of="all", sort="confidence") == list(range(COUNT))
    assert rows(of="all", sort="confidence", order="desc") == list(range(COUNT))[::-1]
    assert rows(q="photos/07") == [7]
    assert rows(q="confidence<0.54 cluster:c1") == [1]
    edit(client, kind="rename", group="c2", name="Blue birds")
    assert rows(q="birds confidence<0.6") == [2, 5]
    edit(client, kind="exclude", rows=[4])
    assert rows(of="excluded") == [4]
    assert 4 not in rows()
    assert rows(of="duplicates") == []
    distance = [client.get(f"api/item/{row}").json()["distance"] for row in rows(sort="distance")]
    assert distance == sorted(distance)
    for bad in ({"of": "../x"}, {"sort": "size"}, {"q": "colour<3"}, {"q": "confidence<red"}):
        assert client.get("api/items", params=bad).status_code == 400
    assert client.get("api/items", params={"of": "group:c7"}).status_code == 409


def test_an_image_and_what_is_like_it(client: TestClient, context: Context) -> None:
    found = client.get("api/item/7").json()
    assert found["image"] == "photos/07.png"
    assert found["group"] == "c1"
    assert len(found["nearest"]) == 30
    assert 7 not in found["nearest"]
    assert {row % 3 for row in found["nearest"][:11]} == {1}
    for path in ("thumb/7", "image/7"):
        picture = client.get(path)
        assert picture.headers["content-type"] == "image/png"
        pixels = np.asarray(Image.open(io.BytesIO(picture.content)))
        np.testing.assert_array_equal(pixels, context.images[7])


def test_the_map_and_its_colours(client: TestClient) -> None:
    found, shares = client.get("api/map").json(), client.get("api/shares").json()
    assert len(found["rows"]) == len(found["x"]) == len(found["y"]) == COUNT
    assert min(found["x"]) == 0.0
    assert max(found["y"]) == 1.0
    assert shares["places"][:4] == [0, 1, 2, 0]


def test_questions_settle_images_and_go(client: TestClient) -> None:
    def asked(kind: str) -> list[dict[str, Any]]:
        found = client.get("api/questions").json()["questions"]
        return [one for one in found if one["kind"] == kind]

    first = asked("belongs")[0]
    assert first["settles"] == max(one["settles"] for one in asked("belongs"))
    assert first["groups"][0] == f"c{first['rows'][0] % 3}"
    edit(client, kind="check", rows=first["rows"][:1])
    assert first["rows"][0] not in [one["rows"][0] for one in asked("belongs")]


def test_two_browsers(client: TestClient, context: Context) -> None:
    other = TestClient(review_app(ReviewSession(context), TOKEN, PORT), base_url=f"{HOME}/{TOKEN}/")
    version = other.get("api/state").json()["version"]
    edit(client, kind="rename", group="c0", name="reds")
    assert other.get("api/state", params={"since": version}).json()["groups"][0]["name"] == "reds"
    assert other.get("api/state", params={"since": version + 1}).json() == {"version": version + 1}


def test_parts_of_a_cluster_that_changed_meanwhile(client: TestClient) -> None:
    parts = client.get("api/split", params={"group": "c0", "parts": 2}).json()["parts"]
    edit(client, kind="move", rows=[1], group="c0")
    answer = edit(client, kind="split", group="c0", parts=parts)
    assert answer.status_code == 409
    assert "changed" in answer.text


def test_a_full_disk_is_said(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    answer = edit(client, kind="rename", group="c0", name="reds")
    assert answer.status_code == 507
    assert "No space left" in answer.text
    assert client.get("api/state").json()["version"] == 0


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {}, 404),
        ("/wrong/", {}, 404),
        (f"/{TOKEN[:-1]}/", {}, 404),
        (f"/{TOKEN}/", {"host": "example.org"}, 403),
        (f"/{TOKEN}/", {"host": f"127.0.0.1:{PORT + 1}"}, 403),
        (f"/{TOKEN}/api/state", {"origin": "http://example.org"}, 403),
        (f"/{TOKEN}/api/state", {"origin": "null"}, 403),
        (f"/{TOKEN}/api/state", {"sec-fetch-site": "cross-site"}, 403),
        (f"/{TOKEN}/", {"sec-fetch-site": "cross-site"}, 200),
        (f"/{TOKEN}/api/state", {"origin": HOME, "sec-fetch-site": "same-origin"}, 200),
    ],
)
def test_others_are_refused(
    client: TestClient, path: str, headers: dict[str, str], status: int
) -> None:
    answer = client.get(f"{HOME}{path}", headers=headers)
    assert answer.status_code == status
    assert "content-security-policy" in answer.headers


def test_an_edit_is_json_of_a_bounded_size(client: TestClient) -> None:
    plain = client.post(
        "api/edit", content=b'{"kind":"undo"}', headers={"content-type": "text/plain"}
    )
    assert plain.status_code == 415
    large = client.post(
        "api/edit",
        content=b" " * (LARGEST_BODY + 1),
        headers={"content-type": "application/json"},
    )
    assert large.status_code == 413
    assert client.get("api/edit").status_code == 405


def test_thumbnails_are_bounded(session: ReviewSession, monkeypatch: pytest.MonkeyPatch) -> None:
    thumbnails = Thumbnails(session)
    size = len(thumbnails.get(0, 8))
    monkeypatch.setattr(server_module, "_CACHED_BYTES", 5 * size)
    for row in range(COUNT):
        thumbnails.get(row, 8)
        assert thumbnails.num_bytes <= 5 * size
    assert thumbnails.get(0, 8).startswith(b"\x89PNG")


_SPICES = (
    *("..", "../..", "%2e%2e", "%2e%2e%2f", "..%5c", "%00", "etc/passwd", "/etc/passwd", "//"),
    *("edits.jsonl", "artifacts/images/images.npy", "thumb", "image", "api", "state", "edit"),
    *("item", TOKEN, "-1", "999999999999", "0x1", "1e3", "٣", "a" * 3000, "index.html"),
    *("config.yaml", "file:///etc/passwd", "..;/", "%252e%252e"),
)


@pytest.mark.parametrize("each", [300, pytest.param(5000, marks=pytest.mark.slow)])
def test_any_paths_and_bodies(client: TestClient, session: ReviewSession, each: int) -> None:
    """Whatever is asked for: known pages, refusals, and nothing of the disk."""
    draw = random.Random(0)
    seen = {200: 0}
    for number in range(each):
        parts = draw.choices(_SPICES, k=draw.randint(1, 4)) if number % 10 else [""]
        token = draw.choice([TOKEN, TOKEN, TOKEN, "wrong", ""])
        path = "/".join([token, *parts]) + draw.choice(["", "?of=../x", "?parts=-1&group=c0"])
        headers = draw.choice([{}, {}, {}, {"host": "evil"}, {"origin": "http://evil"}])
        method = draw.choice(["GET", "GET", "POST", "PUT", "DELETE"])
        answer = client.request(method, f"{HOME}/{path.lstrip('/')}", headers=headers)
        assert answer.status_code == 200 or 300 <= answer.status_code < 500, (number, path)
        assert b"root:" not in answer.content
        assert b"NUMPY" not in answer.content
        assert b"num_clusters" not in answer.content
        if answer.status_code == 200:
            assert token == TOKEN
            assert not headers
            seen[200] += 1
    assert seen[200] > 0
    kinds = ["rename", "merge", "split", "move", "new", "exclude", "check", "fly", "", None, 3]
    values: list[Any] = [
        "c0",
        "n1",
        "../x",
        -1,
        10**30,
        0.5,
        None,
        True,
        [],
        [0],
        [[0], [1]],
        {},
        "\x00",
        ["c0", "c1"],
    ]
    for number in range(each):
        wish: Any = {"kind": draw.choice(kinds)}
        for name in draw.sample(
            ["group", "groups", "into", "rows", "items", "parts", "name", "value"], 3
        ):
            wish[name] = draw.choice(values)
        body = json.dumps(draw.choice([wish, wish, wish, [wish], draw.choice(values)])).encode()
        if draw.random() < 0.2:
            noise = draw.choices(string.printable, k=5)
            at = draw.randrange(len(body))
            body = body[:at] + "".join(noise).encode() + body[at:]
        answer = client.post("api/edit", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 200 or 400 <= answer.status_code < 500, (number, body)
        if answer.status_code == 200 and draw.random() < 0.7:
            edit(client, kind="undo")
    assert sum(session.state.counts().values()) + session.state.num_excluded == COUNT


def test_deep_json_is_refused(client: TestClient) -> None:
    body = b"[" * 100_000
    answer = client.post("api/edit", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400


def test_a_port_that_is_taken(session: ReviewSession) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"Port {port} cannot be opened.*--port"):
            serve_review(session, port=port, screen=silent_screen(), opened=None)


def test_a_run_of_embeddings_shows_nothing(tmp_path: Path) -> None:
    context = make_context(
        tmp_path, data__source="embeddings", data__path="rows.npy", semi__enabled=False
    )
    with pytest.raises(UserError, match="made of embeddings"):
        ReviewSession(context)
