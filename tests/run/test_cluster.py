"""TF_CONFIG, and how workers meet: threads in place of processes, sockets as they are."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from spice_keras.config import load_config
from spice_keras.errors import UserError, WorkerLost
from spice_keras.run import cluster as cluster_module
from spice_keras.run.cluster import Cluster, Company, join, joined, same_everywhere

_TWO = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}


def _config(value: object) -> Callable[[pytest.MonkeyPatch], None]:
    text = value if isinstance(value, str) else json.dumps(value)
    return lambda monkeypatch: monkeypatch.setenv("TF_CONFIG", text)


def test_a_chief_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    _config(_TWO)(monkeypatch)
    assert Cluster.from_environment() == Cluster(("a:1", "b:2"), 1)
    jobs = {"chief": ["c:3"], "worker": ["a:1"]}
    _config({"cluster": jobs, "task": {"type": "worker", "index": 0}})(monkeypatch)
    found = Cluster.from_environment()
    assert (found.workers, found.index, found.is_chief) == (("c:3", "a:1"), 1, False)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "needs the environment variable"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", 'no "cluster"'),
        ({"cluster": {"ps": ["a:1"]}}, "ps"),
        ({"cluster": {"worker": "a:1"}}, "must be a list"),
        ({"cluster": {"worker": ["a:1", "b"]}}, "'b' is not HOST:PORT"),
        ({"cluster": {"worker": ["a:1", "b:70000"]}}, "not HOST:PORT"),
        ({"cluster": {"worker": ["a:1"]}}, "two workers or more"),
        ({"cluster": {"worker": ["a:1", "a:1"]}}, "the same address"),
        (_TWO | {"task": None}, '"task"'),
        (_TWO | {"task": {"type": "worker", "index": True}}, '"task"'),
        (_TWO | {"task": {"type": "worker", "index": 2}}, "index 2 is out of range"),
        (_TWO | {"task": {"type": "worker", "index": -1}}, "out of range"),
    ],
)
def test_what_is_wrong_is_said(monkeypatch: pytest.MonkeyPatch, value: object, said: str) -> None:
    _config(value)(monkeypatch)
    with pytest.raises(UserError, match=said):
        Cluster.from_environment()


@pytest.mark.parametrize("text", ["soon", "0", "nan", "-3"])
def test_the_time_to_wait_is_a_number(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SPICE_WORKER_TIMEOUT", text)
    with pytest.raises(UserError, match="above 0"):
        cluster_module.patience()


def _addresses(count: int) -> tuple[str, ...]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    found = tuple(f"127.0.0.1:{each.getsockname()[1]}" for each in sockets)
    for each in sockets:
        each.close()
    return found


def _meet(facts: list[dict[str, Any]]) -> list[Any]:
    """Let as many workers meet as there are facts; what `join` gave or raised in each."""
    workers, found = _addresses(len(facts)), [None] * len(facts)

    def one(index: int) -> None:
        try:
            found[index] = join(Cluster(workers, index), facts[index], {"run_dir": "/runs/a"})
        except UserError as error:
            found[index] = error

    threads = [threading.Thread(target=one, args=(index,)) for index in range(len(facts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return found


def test_workers_meet_and_part(monkeypatch: pytest.MonkeyPatch) -> None:
    chief, *others = _meet([{"version": "1"}] * 3)
    assert all(isinstance(each, Company) for each in (chief, *others))
    assert [other.given for other in others] == [{"run_dir": "/runs/a"}] * 2
    chief.tell({"phase": "semi"})
    assert [other.next_message() for other in others] == [{"phase": "semi"}] * 2
    chief.close({"over": True})
    assert [other.next_message() for other in others] == [{"over": True}] * 2
    assert [other.loss(0.3) for other in others] == [None] * 2


def test_one_that_ends_ends_all() -> None:
    chief, first, second = _meet([{}] * 3)
    told: list[str] = []
    second.on_loss(told.append)
    first._lines[0].close()  # as when its process is killed
    assert "worker 1 (127.0.0.1:" in chief.loss(30)
    assert "--resume" in chief.loss(0)
    assert second.loss(30) == chief.loss(0)
    with pytest.raises(WorkerLost, match="worker 1"):
        second.next_message()
    assert told == [chief.loss(0)]


def test_a_chief_that_ends_says_why() -> None:
    chief, other = _meet([{}] * 2)
    chief.close({"failed": "the chief (here) ended: no room"})
    with pytest.raises(WorkerLost, match="no room"):
        other.next_message()


def test_who_runs_something_else_is_refused() -> None:
    config = load_config(overrides={"seed": 1})
    others = load_config(overrides={"seed": 2})
    facts = [same_everywhere(each, ["semi"]) for each in (config, others)]
    found = _meet(facts)
    assert [type(each) for each in found] == [UserError] * 2
    for error in found:
        assert "worker 1" in str(error)
        assert "seed: 2, the chief's 1" in str(error)


def test_who_does_not_come_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPICE_WORKER_TIMEOUT", "0.5")
    workers = _addresses(2)
    with pytest.raises(UserError, match=rf"worker 1 \({workers[1]}\) did not come within 0.5"):
        join(Cluster(workers, 0), {}, {})
    with pytest.raises(UserError, match=rf"the chief \({workers[0]}\) did not come"):
        join(Cluster(workers, 1), {}, {})


def test_a_port_in_use_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match="cannot be opened"):
            join(Cluster((address, "127.0.0.1:1"), 0), {}, {})


def test_who_trains_nothing_meets_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    config = load_config(overrides={"strategy": "multiworker"})
    with joined(config, ["eval"], tmp_path) as company:
        assert company is None
    with pytest.raises(UserError, match="TF_CONFIG"), joined(config, ["semi"], tmp_path):
        pass
