from __future__ import annotations

import base64
import hashlib
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spice_keras.errors import UserError
from spice_keras.report.chart import Caption
from spice_keras.report.data import ReportData
from spice_keras.report.figures import SavedFigure, draw_charts, save_chart, save_figures
from spice_keras.report.groups import groups_chart
from spice_keras.report.html import render_report, write_report
from spice_keras.report.setup import EncoderSetup, HeadSetup, SemiSetup
from spice_keras.words.naming import ClusterName
from tests.report.run_data import (
    cluster_links,
    embedding_run,
    figures_row,
    label_free,
    report_data,
    run_metrics,
    suggestion,
    without_labels,
)

MAX_BYTES = 3_000_000
VOID = {"meta", "link", "img", "br", "hr", "input"}
ATTACK = "\"><script>alert(1)</script><img src=https://evil.example/x onerror=alert(1)>'"


class Page(HTMLParser):
    """Reads a page: its tags with attributes, its text, and whether every tag is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def written(data: ReportData, directory: Path, *, draw: bool = False) -> tuple[str, Page]:
    figures = save_figures(data, directory) if draw else []
    path = write_report(data, directory / "report.html", figures)
    page = path.read_text(encoding="utf-8")
    return page, Page(page)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Page]:
    """The page of a run with labels, its figures drawn; nobody changes it."""
    return written(report_data(), tmp_path_factory.mktemp("usual"), draw=True)


def test_the_page_loads_nothing(usual: tuple[str, Page]) -> None:
    page, parsed = usual
    for tag, attributes in parsed.tags:
        assert tag not in {"iframe", "object", "embed", "base", "form"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert (tag, name) != ("script", "src")
            assert name not in {"srcset", "action", "formaction", "background", "poster"}
            if name == "src":
                assert value.startswith("data:image/") or value == "data:,"
            if name in {"href", "xlink:href"}:
                assert value.startswith(("data:", "#"))
    assert not re.search(r"https?://", page)
    assert not re.search(r"url\((?!#)|@import", page)
    policy = parsed.all("meta")[1]["content"]
    assert "default-src 'none'" in policy


def test_the_policy_lets_this_script_run_and_no_other(tmp_path: Path) -> None:
    page, parsed = written(report_data(), tmp_path)
    (script,) = re.findall("<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = parsed.all("meta")[1]["content"]
    assert f"script-src 'sha256-{digest}'" in policy
    assert "unsafe-eval" not in policy
    assert not re.search(r"\beval\(|new Function|innerHTML|fetch\(|XMLHttpRequest", script)


def test_every_tag_is_closed_every_anchor_leads_somewhere_and_every_image_is_described(
    usual: tuple[str, Page],
) -> None:
    _, parsed = usual
    assert parsed.open == []
    identities = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(set(identities)) == len(identities)
    for attributes in parsed.all("a"):
        assert attributes["href"].removeprefix("#") in identities
    images = [image for image in parsed.all("img") if image["src"] != "data:,"]
    assert len(images) > 7
    assert all(len(attributes["alt"]) > 10 for attributes in images)
    drawings = [one for one in parsed.all("svg") if one.get("role") == "img"]
    assert len(drawings) >= 5
    assert all(len(attributes["aria-label"]) > 10 for attributes in drawings)
    assert not any("loading" in image for image in images), "a full-page capture shows them all"


def test_everything_a_user_can_name_is_escaped(tmp_path: Path) -> None:
    data = report_data(
        name=ATTACK,
        created=ATTACK,
        command=ATTACK,
        ids=[ATTACK] * 60,
        method=ATTACK,
        names=[ATTACK] * 3,
        encoder=EncoderSetup(ATTACK, is_pretrained=True, is_trained=False),
        skipped=[(ATTACK, ATTACK)],
        notes=[ATTACK],
        timings={ATTACK: 1.0},
        thresholds={ATTACK: ATTACK},
        environment={ATTACK: ATTACK},
        config_yaml=ATTACK,
        folder=ATTACK,
        model=ATTACK,
        cluster_names=[ClusterName(f"{ATTACK}{number}") for number in range(4)],
        words_from=ATTACK,
        links=cluster_links(),
        groups=suggestion(),
    )
    page, parsed = written(data, tmp_path, draw=True)
    assert page.count("<script") == 1
    assert parsed.open == []
    assert not any("evil" in attributes["src"] for attributes in parsed.all("img"))
    assert not any("onerror" in attributes for attributes in parsed.all("img"))
    thumbnails = [image for image in parsed.all("img") if "title" in image]
    assert thumbnails
    assert all(image["title"].startswith(ATTACK) for image in thumbnails)


def test_names_that_are_not_utf8_are_written(tmp_path: Path) -> None:
    page, _ = written(report_data(ids=["caf\udce9.png"] * 60), tmp_path)
    assert "caf\\udce9.png" in page


def test_a_run_without_labels_claims_no_accuracy(tmp_path: Path) -> None:
    _, parsed = written(label_free(), tmp_path)
    assert "this run had none" in parsed.text
    assert "Accuracy:" not in parsed.text
    assert not any(attributes.get("id") == "classes" for _, attributes in parsed.tags)
    assert "nan" not in re.sub(r"\W", " ", parsed.text.lower()).split()


def test_a_run_without_semi_shows_self(tmp_path: Path) -> None:
    metrics = run_metrics() | {"semi": None}
    history = {"self": [{"loss": 1.0}]}
    _, parsed = written(report_data(metrics=metrics, history=history), tmp_path, draw=True)
    assert "The clusters are those of SPICE-Self." in parsed.text
    assert not any("SPICE-Semi" in one.get("aria-label", "") for one in parsed.all("svg"))


def test_an_empty_cluster_is_said_to_be_empty(tmp_path: Path) -> None:
    clusters = np.arange(60, dtype=np.int32) % 3
    _, parsed = written(label_free(clusters=clusters), tmp_path)
    assert parsed.text.count("No image was assigned to this cluster.") == 1
    assert "clusters (1 empty)" in parsed.text


def test_missing_numbers_are_dashes(tmp_path: Path) -> None:
    nothing = dict.fromkeys(run_metrics()["self"], float("nan"))
    data = label_free(
        metrics={"self": nothing, "semi": None},
        confidence=np.full(60, np.nan, np.float32),
        timings={"self": float("nan")},
        thresholds={"confidence_threshold": None},
        history={"self": [{"loss": float("nan")}]},
    )
    _, parsed = written(data, tmp_path, draw=True)
    words = re.sub(r"\W", " ", parsed.text.lower()).split()
    assert not {"nan", "inf"} & set(words)
    assert "Too few figures were measured" in parsed.text
    assert "No training history was recorded." in parsed.text


def test_a_run_with_nothing_optional_still_has_a_report(tmp_path: Path) -> None:
    data = label_free(
        metrics={},
        history={},
        prototypes={},
        least_certain={},
        points=np.zeros((0, 2), np.float32),
        indices=np.zeros(0, np.int64),
        thresholds={},
        skipped=[],
        notes=[],
        timings={},
        environment={},
    )
    path = write_report(data, tmp_path / "report.html", [])
    text = Page(path.read_text(encoding="utf-8")).text
    for sentence in ("No result was measured.", "No map of the embeddings", "No file was skipped."):
        assert sentence in text


def test_shares_of_the_clusters_add_up_to_one_hundred(tmp_path: Path) -> None:
    clusters = np.asarray([0] * 20 + [1] * 20 + [2] * 20, np.int32)
    _, parsed = written(report_data(clusters=clusters), tmp_path)
    shares = [float(share) for share in re.findall(r"images? · ([\d.]+)\s%", parsed.text)]
    assert len(shares) == 4
    assert sum(shares) == pytest.approx(100.0, abs=1e-9)


def test_the_first_two_hundred_skipped_files_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    skipped = [(f"file-{index:04d}", "not an image") for index in range(1234)]
    _, parsed = written(report_data(skipped=skipped), tmp_path)
    assert "1,234 files were left out; the first 200 are listed" in parsed.text
    assert "file-0199" in parsed.text
    assert "file-0200" not in parsed.text


@pytest.mark.parametrize("image_size", [32, 96])
def test_two_hundred_clusters_of_noise_stay_below_three_megabytes(
    tmp_path: Path, image_size: int
) -> None:
    data = report_data(num_images=2000, num_clusters=200, image_size=image_size)
    page, parsed = written(data, tmp_path, draw=True)
    assert len(page.encode()) < MAX_BYTES
    assert len(parsed.all("article")) == 200
    assert sum("title" in image for image in parsed.all("img")) >= 200 * 3


def test_figures_of_other_makers_are_shown_too(tmp_path: Path) -> None:
    data = report_data(history={})
    path = save_chart(next(draw_charts(data)), tmp_path).path
    caption = Caption("Attention map", "Where it looks.", "A bright centre.")
    page = render_report(data, [SavedFigure("attention_map", "more", caption, path)])
    assert "Attention map" in Page(page).text
    assert 'alt="A bright centre."' in page


def test_the_old_report_survives_a_failed_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "report.html"
    target.write_text("old")

    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(UserError, match="no space left"):
        write_report(report_data(), target, [])
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_missing_figure_file_is_a_user_error(tmp_path: Path) -> None:
    figure = SavedFigure("map", "map", Caption("", "", ""), tmp_path / "gone.png")
    with pytest.raises(UserError, match=r"gone\.png"):
        write_report(report_data(), tmp_path / "report.html", [figure])


@pytest.mark.parametrize("labelled", [True, False])
def test_a_run_without_images_does_not_speak_of_images(tmp_path: Path, labelled: bool) -> None:
    data = embedding_run()
    if not labelled:
        metrics = {name: row and without_labels(row) for name, row in data.metrics.items()}
        data = embedding_run(metrics=metrics, labels=None)
    page, parsed = written(data, tmp_path, draw=True)
    text = Page(page[page.index("<body>") :].removesuffix("</html>")).text
    alternatives = [image["alt"] for image in parsed.all("img")]
    alternatives += [drawing.get("aria-label", "") for drawing in parsed.all("svg")]
    text = text[: text.index('"use strict"')]
    shown = " ".join((text, *alternatives))
    for word in ("image", "picture", "pixel", "SPICE-Semi", "Skipped files"):
        assert word.lower() not in shown.lower().replace("this run has no images", "")
    assert "60items" in re.sub(r"\s", "", text)
    assert ("row-0001" in shown, "k-means on embeddings" in shown) == (True, True)
    assert parsed.open == []
    identities = {attributes["id"] for _, attributes in parsed.tags if "id" in attributes}
    assert {link["href"].removeprefix("#") for link in parsed.all("a")} <= identities
    assert {"map", "training", "sizes"} <= identities


def test_an_empty_cluster_without_images_received_no_item(tmp_path: Path) -> None:
    clusters = np.arange(60, dtype=np.int32) % 3
    _, parsed = written(embedding_run(clusters=clusters), tmp_path)
    assert "No item was assigned to this cluster." in parsed.text


def test_names_of_items_are_escaped_and_whole_in_the_title(tmp_path: Path) -> None:
    ids = [f"{row:02d}{ATTACK}{ATTACK}" for row in range(60)]
    page, parsed = written(embedding_run(ids=ids), tmp_path, draw=True)
    assert page.count("<script") == 1
    titles = [item["title"] for item in parsed.all("li") if "title" in item]
    assert len(titles) == 4 * (12 + 6)
    assert titles[0].startswith(f"{ids[0]} \N{MIDDLE DOT} confidence ")
    assert parsed.text.count("names in full") == 4


def test_two_hundred_clusters_of_long_names_stay_below_three_megabytes(tmp_path: Path) -> None:
    ids = [f"{row:04d}/{'long-name/' * 60}" for row in range(2000)]
    clusters = np.arange(2000, dtype=np.int32) % 200
    members = {cluster: np.flatnonzero(clusters == cluster) for cluster in range(200)}
    data = report_data(
        num_images=2000, num_clusters=200, images=None, ids=ids,
        prototypes=members, least_certain=members,
    )  # fmt: skip
    page, _ = written(data, tmp_path, draw=True)
    assert len(page.encode()) < MAX_BYTES


def test_notices_stand_in_the_verdict_and_choices_in_a_table(tmp_path: Path) -> None:
    encoder = EncoderSetup("efficientnet_lite0", is_pretrained=True, is_trained=False)
    semi = SemiSetup("source", 25)
    page, parsed = written(report_data(encoder=encoder, semi=semi), tmp_path)
    verdict = page[page.index('id="verdict"') : page.index('id="clusters"')]
    for notice in ("25 labelled images of each class", "trained on other images with labels"):
        assert verdict.index("headline") < verdict.index(notice)
    assert "SPICE-Semi was trained on some of these" in parsed.text
    assert "no training or selection step has seen" not in parsed.text
    section = page[page.index('<div id="setup">') : page.index('<div id="notes">')]
    assert "How this run was set up" in parsed.text
    assert "efficientnet_lite0: pretrained weights, not trained further" in section
    assert {"href": "#setup"} in parsed.all("a")


def test_without_notices_there_is_no_place_for_them(tmp_path: Path) -> None:
    _, parsed = written(report_data(), tmp_path)
    assert not any(attributes.get("class") == "notices" for _, attributes in parsed.tags)


@pytest.mark.parametrize("data", [report_data(), label_free(), embedding_run()])
def test_every_term_is_explained_once_and_before_the_results_use_it(
    data: ReportData, tmp_path: Path
) -> None:
    page, _ = written(data, tmp_path)
    lists = re.findall(r'<dl class="terms">(.*?)</dl>', page, re.DOTALL)
    terms = [re.findall("<dt>(.*?)</dt>", one) for one in lists]
    assert len(terms) == 2
    shown = terms[0] + terms[1]
    assert len(set(shown)) == len(shown)
    judged = {"ACC", "Balanced ACC", "NMI", "NMI (arith.)", "ARI", "Purity"}
    free = {"Silhouette", "Local consistency", "Head agreement", "Size balance"}
    columns = free if data.classes is None else judged | free
    assert columns | {"Reliable", "Confidence"} == set(shown)
    table = page[page.index('<table class="results">') :]
    rows = re.findall('<th scope="row">(.*?)</th>', table[: table.index("</table>")])
    assert set(rows) == columns, "no row of dashes"
    key_figures = page[page.index('class="key-figures"') : page.index(lists[0])]
    names = re.findall("<span>(.*?)</span>", key_figures)[2:]
    assert [name.removeprefix("mean ").lower() for name in names] == [
        term.lower() for term in terms[0]
    ]


@pytest.mark.parametrize("labelled", [True, False])
def test_heads_that_collapsed_have_a_report_that_says_so(tmp_path: Path, labelled: bool) -> None:
    row = figures_row(
        acc=0.33, local_consistency=1.0, silhouette=None, size_balance=0.0, head_agreement=1.0,
        cluster_sizes=[0, 0, 60, 0],
    )  # fmt: skip
    metrics = run_metrics() | {"self": row, "semi": None}
    if not labelled:
        metrics = {name: row and without_labels(row) for name, row in metrics.items()}
    values: dict[str, Any] = {} if labelled else {"labels": None}
    data = report_data(
        clusters=np.full(60, 2, np.int32), counts=[0, 0, 60, 0], reliable=np.ones(60, bool),
        agrees=np.ones(60, bool), metrics=metrics, semi=None, head_setup=HeadSetup(start="kmeans"),
        matching={2: 0}, **values,
    )  # fmt: skip
    _, parsed = written(data, tmp_path, draw=True)
    assert "The clustering collapsed: every image is in one cluster" in parsed.text
    assert "All 60 images are in cluster 2; the other 3 clusters received none." in parsed.text
    assert "this share says nothing" in parsed.text
    assert "strong" not in [line.strip() for line in parsed.text.splitlines()], (
        "nothing that a collapse brings about counts in its favour"
    )
    assert "clusters (3 empty)" in parsed.text
    assert len(parsed.all("svg")) > 7


def test_photographs_come_before_every_term_and_what_is_of_training_is_folded(
    tmp_path: Path,
) -> None:
    page, _ = written(report_data(links=cluster_links()), tmp_path, draw=True)
    before = page[page.index("<main>") : page.index('<article class="card')]
    for term in ("accuracy", "consistency", "silhouette", "reliable", "SPICE", "embedding"):
        assert term not in before.lower(), term
    folded = re.findall(r'<details class="fold">\s*<summary>.*?</summary>\s*<div id="(\w+)"', page)
    assert folded == ["setup", "training", "skipped", "run"]
    inside = page[page.index('<details class="fold">') :]
    for place in ("thresholds", "choice", "training"):
        assert f'<div id="{place}">' in inside


def test_the_groups_a_run_counted_are_shown(tmp_path: Path) -> None:
    figure = save_chart(groups_chart(suggestion()), tmp_path)
    page = render_report(report_data(groups=suggestion()), [figure])
    parsed = Page(page)
    assert {"href": "#groups"} in parsed.all("a")
    assert "Any number from 3 to 4 explains the data about as well" in parsed.text
    assert "Cluster 1 (20 images) splits into 0 (12) and 3 (8)." in parsed.text
    labels = [one.get("aria-label", "") for one in parsed.all("svg")]
    assert any("Curves over 2 and 4 clusters" in label for label in labels)
    assert "spice groups RUN\n" not in page, "that was asked already"


def test_drawings_take_the_colours_of_the_page_and_heat_maps_keep_theirs(
    usual: tuple[str, Page],
) -> None:
    page, _ = usual
    sizes = page[page.index('id="sizes"') : page.index('id="prototypes"')]
    drawing = sizes[sizes.index("<svg") : sizes.index("</svg>")]
    assert "var(--curve-0)" in drawing
    assert not re.search("#[0-9a-f]{6}", drawing), "every colour has a light and a dark value"
    classes = page[page.index('id="classes"') : page.index('<details class="fold">')]
    assert "chart scroll paper" in classes
    assert "var(--" not in classes
    style = page[page.index("<style>") : page.index("</style>")]
    variables = set(re.findall(r"var\((--[\w-]+)\)", page)) - {"--side"}
    light, dark = style.split("@media (prefers-color-scheme: dark)")[:2]
    for variable in variables:
        assert f"{variable}:" in light, variable
        assert f"{variable}:" in dark[: dark.index("* {")], variable
    assert "invert" not in style
