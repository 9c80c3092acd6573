from __future__ import annotations

from spice_keras.report.formatting import MISSING
from spice_keras.report.table import COLUMNS, final_method, result_rows
from tests.report.run_data import figures_row, run_metrics, without_labels

RESULT_HEADER = ("Method", *COLUMNS.values())


def test_methods_come_in_a_fixed_order_whatever_the_order_of_the_mapping() -> None:
    metrics = dict(reversed(run_metrics().items()))
    names = [row[0] for row in result_rows(metrics)]
    assert names == ["SPICE-Semi", "SPICE-Self", "k-means on embeddings", "k-means on pixels"]


def test_every_row_is_as_long_as_the_header_and_figures_stand_in_their_column() -> None:
    row = result_rows({"self": figures_row(acc=0.1234, size_balance=0.5, head_agreement=0.25)})[0]
    assert len(row) == len(RESULT_HEADER)
    cells = dict(zip(RESULT_HEADER, row, strict=True))
    assert cells["ACC"] == "0.123"
    assert cells["Size balance"] == "0.500"
    assert cells["Head agreement"] == "0.250"


def test_without_labels_only_the_label_free_columns_are_filled() -> None:
    cells = dict(
        zip(RESULT_HEADER, result_rows({"self": without_labels(figures_row())})[0], strict=True)
    )
    for column in ("ACC", "NMI", "NMI (arith.)", "ARI", "Purity"):
        assert cells[column] == MISSING
    assert cells["Local consistency"] == "0.930"


def test_absent_methods_have_no_row_and_missing_keys_are_dashes() -> None:
    rows = result_rows({"semi": None, "self": {"acc": float("nan")}})
    assert rows == [["SPICE-Self", *[MISSING] * (len(RESULT_HEADER) - 1)]]
    assert result_rows({}) == []


def test_the_run_ends_with_semi_where_it_was_measured() -> None:
    row = figures_row()
    assert final_method({"self": row, "semi": row}) == "semi"
    assert final_method({"self": row, "semi": None}) == "self"
    assert final_method({"self": row}) == "self"
    assert final_method({"kmeans_pixels": row}) is None
