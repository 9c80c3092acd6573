"""The page in a real browser: its script runs under its policy, and it fits a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from spice_keras.report.figures import save_figures
from spice_keras.report.html import write_report
from spice_keras.words.naming import ClusterName
from tests.report.run_data import cluster_links, report_data

pytestmark = pytest.mark.integration
NAMES = [ClusterName(name) for name in ("cat", "dog", "owl", "fox")]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    data = report_data(links=cluster_links(), cluster_names=NAMES, words_from="a list")
    return write_report(data, folder / "report.html", save_figures(data, folder)).as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as engine:
        found = engine.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield found
        found.close()


def _opened(browser: Any, address: str, width: int, height: int) -> tuple[Any, list[str]]:
    page = browser.new_page(viewport={"width": width, "height": height})
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(address)
    return page, troubles


def test_cards_are_sorted_filtered_and_enlarged_by_keys(browser: Any, address: str) -> None:
    page, troubles = _opened(browser, address, 1280, 800)

    def shown() -> list[str]:
        cards = "[...document.querySelectorAll('.card')].filter(card => !card.hidden)"
        return list(page.evaluate(f"{cards}.map(card => card.dataset.cluster)"))

    assert shown() == ["0", "1", "2", "3"]
    page.keyboard.press("w")
    assert shown() == ["2", "1", "3", "0"]
    page.keyboard.press("/")
    page.keyboard.type("tight fox")
    assert shown() == ["3"]
    assert page.text_content("#shown") == "1 of 4 shown"
    page.keyboard.press("Escape")
    assert len(shown()) == 4
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    assert page.evaluate("document.querySelector('#lightbox').open")
    assert "1 of 18" in page.text_content("#lightbox p")
    page.keyboard.press("ArrowLeft")
    assert "18 of 18" in page.text_content("#lightbox p")
    page.keyboard.press("Escape")
    page.click("#cluster-1 .thumbs img >> nth=1")
    assert "folder/0005.png" in page.text_content("#lightbox p")
    page.click("#lightbox .close")
    assert not page.evaluate("document.querySelector('#lightbox').open")
    page.click("nav a[href='#training']")
    assert page.evaluate("document.querySelector('#training').closest('details').open")
    assert troubles == []


def test_photographs_are_on_the_first_screen_and_all_are_there(browser: Any, address: str) -> None:
    page, troubles = _opened(browser, address, 1280, 800)
    tops = page.evaluate(
        "[...document.querySelectorAll('.thumbs img')].map(i => i.getBoundingClientRect().bottom)"
    )
    assert min(tops) < 800
    images = "[...document.querySelectorAll('main img')]"
    assert page.evaluate(f"{images}.every(image => image.complete && image.naturalWidth > 0)")
    assert troubles == []


def test_a_phone_shows_every_column_and_says_where_to_swipe(browser: Any, address: str) -> None:
    page, _ = _opened(browser, address, 390, 844)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    cut = (
        "[...document.querySelectorAll('table')].filter(table => "
        "table.offsetParent && table.getBoundingClientRect().right > 390).length"
    )
    assert page.evaluate(cut) == 0
    assert page.is_visible(".swipe >> nth=0")
