"""The review page in a real browser: every action by keyboard and by mouse, and how it looks."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="needs the extra review")
pytest.importorskip("uvicorn", reason="needs the extra review")
pytest.importorskip("playwright", reason="needs playwright")

import uvicorn
from playwright.sync_api import sync_playwright

from spice_keras.review.server import _listener, review_app
from spice_keras.review.session import ReviewSession
from spice_keras.run.context import Context
from spice_keras.run.store import Embeddings, Heads, Items, Names, Reliable
from spice_keras.words.naming import ClusterName
from tests.review.reviewed_run import finished
from tests.stages.made_run import CLUSTERS, make_context

_CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(_CHROMIUM is None, reason="needs chromium (apt install chromium)"),
]
_MANY = 50_000


class _Served:
    """A server in a thread, and what it serves."""

    def __init__(self, context: Context) -> None:
        self.session = ReviewSession(context)
        self.listener = _listener(0)
        port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/token/"
        config = uvicorn.Config(
            review_app(self.session, "token", port),
            log_level="error",
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, args=([self.listener],))
        self.thread.start()

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        self.listener.close()

    def restart(self) -> None:
        """Forget all edits."""
        (self.session.log.path).unlink(missing_ok=True)
        self.session.log.refresh()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as started:
        opened = started.chromium.launch(
            executable_path=_CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Served]:
    context = finished(tmp_path_factory.mktemp("page"), np.linspace(0.5, 0.99, 36))
    found = _Served(context)
    yield found
    found.stop()


_SIZE = {"width": 1280, "height": 800}


class _Window:
    """A page that several tests share, and what was said on its console."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.context = browser.new_context(viewport=_SIZE, **options)
        self.url, self.said = url, list[str]()
        self.page = self.more()

    def more(self) -> Any:
        page = self.context.new_page()
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        return page

    def begin(self, page: Any) -> Any:
        page.goto(self.url)
        page.wait_for_selector(".card")
        return page


@pytest.fixture(scope="module")
def window(browser: Any, served: _Served) -> Iterator[_Window]:
    found = _Window(browser, served.url)
    yield found
    found.context.close()


@pytest.fixture
def fresh(window: _Window, served: _Served) -> Iterator[_Window]:
    """The shared window, no edit made; nothing may be said on its console."""
    served.restart()
    window.said.clear()
    yield window
    assert [text for text in window.said if "409" not in text] == []


@pytest.fixture
def page(fresh: _Window) -> Any:
    """The page, newly loaded."""
    return fresh.begin(fresh.page)


def names(page: Any) -> list[str]:
    return page.locator(".card .title").all_inner_texts()


def settled(page: Any, state: Callable[[], bool]) -> None:
    for _ in range(1200):
        if state():
            return
        page.wait_for_timeout(50)
    raise AssertionError("what was expected did not happen within a minute")


def test_every_action_by_keyboard(page: Any, served: _Served) -> None:
    press, state = page.keyboard.press, lambda: served.session.state

    def told(text: str) -> None:
        settled(page, lambda: page.locator("#said").inner_text() == text)

    press("ArrowRight")
    press("r")
    page.keyboard.type("reds")
    press("Enter")
    settled(page, lambda: names(page) == ["reds", "Cluster 1", "Cluster 2"])
    press(" ")  # the focus stays where it was
    press("ArrowRight")
    press(" ")
    press("m")
    settled(page, lambda: state().counts() == {"c0": 24, "c2": 12})
    press("u")
    settled(page, lambda: len(state().counts()) == 3)
    press("Shift+U")
    settled(page, lambda: len(state().counts()) == 2)
    settled(page, lambda: len(names(page)) == 2)
    press("u")
    settled(page, lambda: len(names(page)) == 3)
    for _ in range(3):
        press("ArrowLeft")
    press("Enter")
    page.wait_for_selector(".cell")
    press("ArrowRight")
    press(" ")
    press("Shift+ArrowRight")
    press("v")
    page.wait_for_selector("dialog[open] .choices button")
    press("1")
    told("2 images moved.")
    assert state().counts() == {"c0": 10, "c1": 14, "c2": 12}
    press(" ")
    press("n")
    page.wait_for_selector("dialog[open] input")
    page.keyboard.type("odd one")
    press("Enter")
    told("New cluster made.")
    assert state().counts()["n1"] == 1
    press(" ")
    press("x")
    told("1 image excluded.")
    assert state().num_excluded == 1
    press(" ")
    press("c")
    told("1 image checked.")
    assert (state().decisions == 1).sum() == 1
    press("s")
    page.wait_for_selector("dialog[open] section")
    press("3")
    page.wait_for_selector("dialog[open] section:nth-child(3)")
    press("y")
    told("Split into 3 parts.")
    assert len(state().counts()) == 6
    press("?")
    page.wait_for_selector("dialog[open] kbd")
    press("Escape")
    page.wait_for_selector("dialog", state="hidden")
    press("/")
    page.keyboard.type("photos/07")
    press("Enter")
    settled(page, lambda: page.locator(".cell").count() <= 1)
    counts = state().counts()
    assert sum(counts.values()) + state().num_excluded == 36


def test_every_action_by_mouse(page: Any, served: _Served) -> None:
    state = lambda: served.session.state  # noqa: E731
    page.locator(".card button:text('Rename')").first.click()
    page.locator("dialog input").fill("reds")
    page.locator("dialog button:text('Save')").click()
    settled(page, lambda: "reds" in names(page))
    for place in (0, 1):
        page.locator(".card input").nth(place).check()
    page.locator("#actions button:text('Side by side')").click()
    page.wait_for_selector(".pair .cell")
    page.locator("button:text('They are different')").click()
    settled(page, lambda: state().distinct == {frozenset(("c0", "c1"))})
    page.locator("button:text('All clusters')").click()
    page.locator(".card .open").nth(2).click()
    page.locator(".cell").first.click()
    page.locator(".cell").nth(3).click(modifiers=["Shift"])
    assert page.locator("#actions").inner_text().startswith("4 images selected")
    page.locator("#actions button:text('Move')").click()
    page.locator(".choices button").first.click()
    settled(page, lambda: state().counts()["c2"] == 8)
    page.locator(".cell").first.dblclick()
    page.wait_for_selector(".lightbox")
    assert page.locator(".near button").count() == 30
    page.locator(".near button").first.click()
    page.locator("dialog button:text('Exclude')").click()
    settled(page, lambda: state().num_excluded == 1)
    page.locator("nav button:text('Excluded')").click()
    page.locator(".cell").first.click()
    page.locator("#actions button:text('Take back')").click()
    settled(page, lambda: state().num_excluded == 0)
    page.locator("#undo").click()
    settled(page, lambda: state().num_excluded == 1)
    page.locator("#redo").click()
    settled(page, lambda: state().num_excluded == 0)


_LATE = """milliseconds => {
    const real = window.fetch;
    window.fetch = async (...asked) => {
        await new Promise((resolve) => { setTimeout(resolve, milliseconds); });
        return real(...asked);
    };
}"""


def test_keys_wait_for_an_answer_on_its_way(page: Any, served: _Served) -> None:
    page.evaluate(_LATE, 150)
    page.keyboard.press("ArrowRight")
    # Nothing here waits for what the page shows: each key comes before the answer to the last.
    for key in ("c", "r", *"reds", "Enter", "u", "r", *"blues", "Backspace", "Enter", "Enter"):
        page.keyboard.press(key)
    for key in ("ArrowRight", " ", "Shift+ArrowRight", "c", "s", "3", "y", "]", "]", "["):
        page.keyboard.press(key)
    page.wait_for_selector(".question h2")
    settled(page, lambda: len(served.session.log.entries) == 5)
    kinds = [entry.edit.kind for entry in served.session.log.entries]
    assert kinds == ["rename", "undo", "rename", "check", "split"]
    assert served.session.state.groups["c0"].name == "blue"
    page.locator("nav button:text('Clusters')").click()
    settled(page, lambda: "blue" in names(page))


def test_a_window_may_close_before_its_answer_comes(page: Any, served: _Served) -> None:
    """Nothing is said on the console, which `fresh` looks at, and the images are excluded."""
    page.locator(".card .open").nth(2).click()
    page.locator(".cell").first.dblclick()
    page.wait_for_selector(".lightbox")
    page.evaluate(_LATE, 150)
    page.locator(".near button").first.click()
    page.locator("dialog button:text('Exclude')").click()
    settled(page, lambda: served.session.state.num_excluded == 1)
    page.wait_for_timeout(300)


def test_a_window_that_closes_takes_no_focus_from_what_came_after(page: Any) -> None:
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".card .open:focus")
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open] kbd")
    # As Escape and / do in quick order: a window's event of closing comes after both.
    page.evaluate("""() => {
        document.getElementById("dialog").close();
        document.getElementById("query").focus();
    }""")
    page.keyboard.type("photos/07")
    assert page.locator("#query").input_value() == "photos/07"


def test_questions_are_answered_with_one_key(page: Any, served: _Served) -> None:
    page.keyboard.press("]")
    page.wait_for_selector(".question h2")
    assert "settles" in page.locator(".question .facts").first.inner_text()

    def next_about_an_image() -> None:
        """Answers questions about clusters with no, until one is about an image."""
        while "this image" not in (asked := page.locator(".question h2").inner_text()):
            page.keyboard.press("n")
            settled(page, lambda: page.locator(".question h2").inner_text() != asked)

    for key, decision in (("y", 1), ("y", 1), ("1", 2)):
        next_about_an_image()
        before = (served.session.state.decisions == decision).sum()
        seen = page.locator(".shown img").first.get_attribute("src")
        page.keyboard.press(key)
        settled(page, lambda: page.locator(".shown img").first.get_attribute("src") != seen)  # noqa: B023
        assert (served.session.state.decisions == decision).sum() == before + 1


def test_the_map_selects_with_a_lasso(page: Any) -> None:
    page.locator("nav button:text('Map')").click()
    page.wait_for_selector("canvas")
    settled(page, lambda: page.evaluate("document.querySelector('canvas').width > 300"))
    page.wait_for_timeout(300)
    box = page.locator("canvas").bounding_box()
    left, top = box["x"] + 2, box["y"] + 2
    right, bottom = left + box["width"] - 4, top + box["height"] - 4
    page.keyboard.down("Shift")
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom)):
        page.mouse.move(x, y, steps=3)
    page.mouse.up()
    page.keyboard.up("Shift")
    settled(page, lambda: page.locator("#actions").inner_text().startswith("36 images"))
    page.locator("#color").select_option("confidence")
    page.locator("button[aria-label='Zoom in']").click()


def test_another_browser_follows(fresh: _Window) -> None:
    one, two = fresh.begin(fresh.page), fresh.begin(fresh.more())
    one.locator(".card button:text('Rename')").first.click()
    one.locator("dialog input").fill("seen elsewhere")
    one.keyboard.press("Enter")
    settled(two, lambda: "seen elsewhere" in names(two))
    two.close()


def test_what_the_server_refuses_is_said(page: Any, served: _Served) -> None:
    page.keyboard.press("u")
    settled(page, lambda: page.locator("#said").inner_text() == "there is nothing to undo.")
    assert served.session.log.version == 0


@pytest.fixture(scope="module")
def lax(browser: Any, served: _Served) -> Iterator[_Window]:
    """A window in which axe may run, which the page's own policy forbids."""
    served.restart()
    found = _Window(browser, served.url, bypass_csp=True)
    yield found
    found.context.close()


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)], ids=str
)
def test_it_is_accessible_and_fits(lax: _Window, scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    lax.page.set_viewport_size({"width": width, "height": 844})
    lax.page.emulate_media(color_scheme=scheme)
    page = lax.begin(lax.page)

    def look(where: str) -> None:
        found = axe.run(page).response["violations"]
        listed = [(one["id"], [node["html"][:90] for node in one["nodes"]][:3]) for one in found]
        assert listed == [], where
        assert page.evaluate("document.documentElement.scrollWidth") <= width, where

    look("clusters")
    page.locator(".card .open").first.click()
    page.wait_for_selector(".cell")
    page.locator(".cell").first.click()
    look("cluster")
    page.keyboard.press("Enter")
    page.wait_for_selector(".near button")
    look("image")
    page.keyboard.press("Escape")
    for view in ("Questions", "Map", "Duplicates"):
        page.locator(f"nav button:text('{view}')").click()
        page.wait_for_timeout(300)
        look(view)
    page.keyboard.press("?")
    page.wait_for_selector("dialog kbd")
    look("keys")


def _many(path: Path) -> Context:
    """A run of 50,000 images, its neighbours made up."""
    context = make_context(path, semi__enabled=False)
    clusters = (np.arange(_MANY) % CLUSTERS).astype(np.int32)
    with context.writing(Items) as folder:
        np.save(Items.pixels_file(folder), np.zeros((_MANY, 8, 8, 3), np.uint8))
        Items([f"photos/{row}.png" for row in range(_MANY)], []).save(folder)
    features = np.eye(CLUSTERS, 5, dtype=np.float32)[clusters]
    offsets = CLUSTERS * np.arange(12)
    neighbors = ((np.arange(_MANY)[:, None] + offsets) % _MANY).astype(np.int32)
    context.save(Embeddings(neighbors, features))
    probabilities = np.full((_MANY, CLUSTERS), 0.1, np.float32)
    probabilities[np.arange(_MANY), clusters] = 0.8
    context.save(Heads(probabilities, clusters[None]))
    context.save(Reliable(np.arange(_MANY), clusters, np.ones(_MANY, np.float32)))
    context.save(Names((ClusterName(None, reason="No words."),) * CLUSTERS, None, False))
    return Context(context.config, context.run)


def test_fifty_thousand_images_draw_a_screenful(tmp_path: Path, browser: Any) -> None:
    served = _Served(_many(tmp_path))
    try:
        page = browser.new_page(viewport=_SIZE)
        page.goto(f"{served.url}")
        page.wait_for_selector(".card")
        page.locator("#query").fill("photos")
        page.keyboard.press("Enter")
        page.wait_for_selector(".cell")
        assert page.locator("h2").first.inner_text() == "Found · 50,000 images"
        for place in (0.0, 0.3, 0.6, 0.9999):
            page.evaluate(
                "place => { const grid = document.querySelector('.grid');"
                " grid.scrollTop = place * grid.scrollHeight; }",
                place,
            )
            page.wait_for_timeout(150)
            assert 0 < page.locator(".cell").count() < 250
        page.keyboard.press("End")
        settled(page, lambda: page.locator(f"[data-row='{_MANY - 1}']").count() == 1)
        page.keyboard.press("a")
        page.keyboard.press("x")
        settled(page, lambda: served.session.state.num_excluded == _MANY)
    finally:
        served.stop()
