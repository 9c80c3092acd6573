from __future__ import annotations

import numpy as np

from spice_keras.report import cards as page_cards
from spice_keras.report.cards import MAX_ID_CHARACTERS, ClusterCard
from spice_keras.report.data import ReportData
from spice_keras.report.formatting import MISSING
from spice_keras.report.thumbnails import PLANS
from tests.report.run_data import cluster_links, embedding_run, report_data


def cluster_cards(data: ReportData, max_characters: int) -> list[ClusterCard]:
    return page_cards.cluster_cards(data.items, data.clustering, data.classes, max_characters)


def fact(card: ClusterCard, name: str) -> str:
    return dict(card.facts)[name]


def test_figures_of_a_cluster_are_those_of_its_members() -> None:
    confidence = np.zeros(60, np.float32)
    confidence[1::4] = 0.5
    reliable = np.zeros(60, bool)
    reliable[[1, 5, 9]] = True
    card = cluster_cards(report_data(confidence=confidence, reliable=reliable), 10**7)[1]
    assert card.size == 15
    assert fact(card, "Reliable") == "3 (20.0\N{NO-BREAK SPACE}%)"
    assert fact(card, "Mean confidence") == "50.0\N{NO-BREAK SPACE}%"


def test_pictures_keep_the_given_order_and_the_limits_of_the_plan() -> None:
    data = report_data()
    card = cluster_cards(data, 10**7)[2]
    assert [picture.id for picture in card.prototypes] == [
        data.items.ids[index] for index in data.clustering.prototypes[2][: PLANS[0].prototypes]
    ]
    assert len(card.least_certain) == PLANS[0].least_certain


def test_a_small_budget_takes_the_most_modest_plan() -> None:
    card = cluster_cards(report_data(), 100)[0]
    assert len(card.prototypes) == PLANS[-1].prototypes
    assert len(card.least_certain) == PLANS[-1].least_certain


def test_an_empty_cluster_has_a_card_without_figures() -> None:
    clusters = np.zeros(60, np.int32)
    cards = cluster_cards(report_data(clusters=clusters, prototypes={}, least_certain={}), 10**7)
    assert [card.size for card in cards] == [60, 0, 0, 0]
    assert cards[1].facts == cards[1].prototypes == ()


def test_unknown_confidence_is_missing_not_zero() -> None:
    cards = cluster_cards(report_data(confidence=np.full(60, np.nan, np.float32)), 10**7)
    assert fact(cards[0], "Mean confidence") == MISSING
    assert cards[0].least_certain[0].confidence == MISSING


def test_the_matched_class_and_a_larger_one_are_both_named() -> None:
    confusion = np.asarray([[9, 0, 0, 0], [6, 0, 0, 0], [0, 15, 15, 15]])
    data = report_data(confusion=confusion, matching={0: 1, 1: 2})
    cards = cluster_cards(data, 10**7)
    assert fact(cards[0], "Matched class") == "dog"
    assert fact(cards[0], "Largest class").startswith("cat \N{MIDDLE DOT} 60.0")
    assert fact(cards[1], "Matched class").startswith("owl \N{MIDDLE DOT} 100.0")
    assert fact(cards[2], "Matched class") == "none"


def test_without_labels_no_class_is_named() -> None:
    cards = cluster_cards(report_data(labels=None), 10**7)
    assert not any("class" in name for card in cards for name, _ in card.facts)


def test_only_the_shown_rows_are_read() -> None:
    class Rows:
        """Images that remember what is read of them."""

        shape = (60, 16, 16, 3)

        def __init__(self) -> None:
            self.read: set[int] = set()

        def __len__(self) -> int:
            return 60

        def __getitem__(self, index: int) -> np.ndarray:
            self.read.add(index)
            return np.zeros((16, 16, 3), np.uint8)

    images = Rows()
    cluster_cards(
        report_data(images=images, prototypes={0: np.asarray([4, 8])}, least_certain={}), 9
    )
    assert images.read == {4, 8}


def test_without_images_members_are_named() -> None:
    data = embedding_run()
    card = cluster_cards(data, 10**7)[1]
    assert [member.id for member in card.prototypes] == [
        data.items.ids[index] for index in data.clustering.prototypes[1][: PLANS[0].prototypes]
    ]
    assert {member.source for member in (*card.prototypes, *card.least_certain)} == {None}
    assert card.prototypes[0].short_id == "row-0001"
    assert not card.has_more_names


def test_long_names_are_cut_and_their_characters_counted() -> None:
    ids = [f"{index:03d}/{'x' * 500}/{index:03d}" for index in range(60)]
    card = cluster_cards(embedding_run(ids=ids), 10**7)[0]
    assert len(card.prototypes[0].short_id) == MAX_ID_CHARACTERS
    assert card.has_more_names
    shown = cluster_cards(embedding_run(ids=ids), 20_000)[0]
    assert PLANS[-1].prototypes <= len(shown.prototypes) < PLANS[0].prototypes


def test_the_worst_clusters_have_the_most_doubt() -> None:
    clusters = np.arange(60, dtype=np.int32) % 3
    links = cluster_links()
    cards = cluster_cards(report_data(clusters=clusters, links=links), 10**7)
    order = sorted(cards, key=lambda card: -card.doubt)
    assert [card.cluster for card in order] == [3, 2, 1, 0], "empty, loose, mixed, tight"
    agrees = np.arange(60) % 4 != 2
    cards = cluster_cards(report_data(agrees=agrees), 10**7)
    assert [card.doubt for card in cards] == [0.0, 0.0, 1.0, 0.0], "without links, by neighbours"


def test_every_card_has_a_shape_of_its_own() -> None:
    cards = cluster_cards(report_data(), 10**7)
    assert len({card.shape for card in cards}) == len(cards)
