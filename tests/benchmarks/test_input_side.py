"""The simulation of workers and of a fleet agrees with what can be worked out by hand."""

from __future__ import annotations

import pytest

from benchmarks import input_side
from benchmarks.input_side import SHARD, Costs, compared, fleet, simulated
from benchmarks.scale_table import row


@pytest.fixture
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_side, "SLOW_SHARE", 0.0)
    monkeypatch.setattr(input_side, "FAILURES_AN_HOUR", 1e-12)


def test_what_waits_for_the_encoder_has_its_rate() -> None:
    costs = Costs(decode=1e-4, decode_spread=0.5, encode=0.01)
    assert simulated(costs, 1, cores=16) == pytest.approx(100, rel=0.05)
    assert simulated(costs, 3, cores=16) == pytest.approx(300, rel=0.05)
    assert simulated(costs, 1, cores=16, threads=4) == pytest.approx(400, rel=0.05)


def test_what_waits_for_decoding_has_the_rate_of_four_threads() -> None:
    costs = Costs(decode=0.02, decode_spread=0.0, encode=1e-4)
    assert simulated(costs, 1, cores=16) == pytest.approx(200, rel=0.05)


def test_full_cores_share_the_work() -> None:
    costs = Costs(decode=0.005, decode_spread=0.3, encode=0.005)
    rates = [simulated(costs, workers, cores=2) for workers in (2, 3)]
    assert rates == [pytest.approx(200, rel=0.05)] * 2, "two cores, ten milliseconds an image"
    # One worker keeps at most one thread on the encoder, and four on decoding.
    assert simulated(costs, 2, cores=2, others=6.0) < 150


def test_a_fleet_without_mishaps_needs_its_share(undisturbed: None) -> None:
    for shared in (True, False):
        found = fleet(100.0, 10, 10.0 * SHARD, shared=shared, bytes_an_image=1.0)
        assert found["hours"] == pytest.approx(SHARD / 100 / 3600)
        assert found["efficiency"] == pytest.approx(1.0)
        assert found["lost_hours"] == 0


def test_storage_that_all_share_bounds_a_fleet(undisturbed: None) -> None:
    size = 2 * input_side.STORAGE / (10 * 100.0)
    found = fleet(100.0, 10, 10.0 * SHARD, shared=True, bytes_an_image=size)
    assert found["hours"] == pytest.approx(2 * SHARD / 100 / 3600)


def test_slow_machines_hold_up_fixed_parts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_side, "FAILURES_AN_HOUR", 1e-12)
    images = 100 * 40.0 * SHARD
    fixed = fleet(100.0, 100, images, shared=False, bytes_an_image=1.0)
    shared = fleet(100.0, 100, images, shared=True, bytes_an_image=1.0)
    assert fixed["efficiency"] == pytest.approx(input_side.SLOW_SPEED)
    assert shared["efficiency"] > 0.9


def test_failures_lose_what_was_being_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_side, "SLOW_SHARE", 0.0)
    monkeypatch.setattr(input_side, "FAILURES_AN_HOUR", 60.0)
    for shared in (True, False):
        found = fleet(100.0, 5, 200.0 * SHARD, shared=shared, bytes_an_image=1.0)
        assert 0 < found["lost_hours"] < 5 * found["hours"]
        assert found["efficiency"] < 1


def test_turns_are_compared_by_number_of_workers() -> None:
    costs = {"decode": 0.001, "decode_spread": 0.1, "encode": 0.01}
    turns = [{"workers": n, "rate": 90.0 * n, "others": 0.0} for n in (1, 2, 3)]
    rows = compared({"costs": costs, "turns": turns})
    assert [each["measured"] for each in rows] == [90, 180, 270]
    assert rows[0]["simulated"] == pytest.approx(100, rel=0.1)


def test_a_row_of_the_table(undisturbed: None) -> None:
    small, large = row(10_000, 1, 500.0, 1e5), row(10**8, 20, 500.0, 1e3)
    assert small.embed == pytest.approx(20 / 3600)
    assert small.sort == 0
    assert large.embed == pytest.approx(10**8 / 10_000 / 3600)
    assert large.memory < 3 * 2**30 < large.shards
    assert row(10**8, 20, 500.0, 1e7).bottleneck == "reading the images"
