"""The verdict in three plain sentences, and the commands that a result suggests."""

from __future__ import annotations

import shlex

import click
import numpy as np
import pytest

from spice_keras.cli import main
from spice_keras.report.advice import cluster_advice
from spice_keras.report.data import ReportData
from spice_keras.report.next_steps import NextStep, next_steps
from spice_keras.report.summary import plain_verdict
from spice_keras.report.verdict import trust_verdict
from spice_keras.words.naming import ClusterName
from tests.report.run_data import (
    cluster_links,
    embedding_run,
    label_free,
    report_data,
    suggestion,
)

NAMES = [ClusterName(name) for name in ("cat", "dog", "owl", "a fox")]


def sentences(data: ReportData) -> tuple[str, str, str]:
    clustering, noun = data.clustering, data.items.noun
    advice = [cluster_advice(cluster, clustering, noun) for cluster in range(4)]
    heads = data.setup.heads
    verdict = trust_verdict(data.metrics, clustering, data.reliable.counts, heads, noun)
    return plain_verdict(data.metrics, clustering, verdict, advice, noun)


def steps(data: ReportData) -> tuple[NextStep, ...]:
    clustering = data.clustering
    advice = [cluster_advice(cluster, clustering, data.items.noun) for cluster in range(4)]
    return next_steps(data, advice)


def test_the_first_sentence_says_what_was_made() -> None:
    assert sentences(report_data())[0] == "60 images were sorted into 4 clusters of 15 images each."
    uneven = np.asarray([0] * 40 + [1] * 10 + [2] * 6 + [3] * 4, np.int32)
    made = sentences(report_data(clusters=uneven))[0]
    assert made == "60 images were sorted into 4 clusters, groups of 4 to 40 images."
    empty = np.arange(60, dtype=np.int32) % 3
    assert sentences(embedding_run(clusters=empty))[0] == (
        "60 items were sorted into 4 clusters, of which 1 stayed empty."
    )


def test_the_second_sentence_says_how_far_to_trust_it() -> None:
    assert sentences(report_data())[1] == (
        "Nothing that was measured speaks against them: 96 of 100 images are in the cluster of "
        "their label."
    )
    data = label_free()
    assert "of 100" not in sentences(data)[1]
    expected = {"acc": 0.72, "low": 0.6, "high": 0.81}
    metrics = {**data.metrics, "expected_accuracy": expected}
    assert sentences(label_free(metrics=metrics))[1].endswith(
        "about 72 of 100 images are probably in the right cluster, and most likely between 60 and "
        "81."
    )
    collapsed = label_free(clusters=np.full(60, 2, np.int32))
    assert "every image is in one cluster" in sentences(collapsed)[1]


def test_the_third_sentence_says_where_to_look_first() -> None:
    assert "only you can say" in sentences(report_data())[2]
    data = report_data(links=cluster_links(), cluster_names=NAMES, words_from="a list")
    assert sentences(data)[2] == (
        "Look first at cluster 2 (owl), cluster 1 (dog) and cluster 3 (a fox); the other one holds "
        "together well."
    )
    calm = cluster_links(
        kept=[0.95] * 4, mixed_share=[0.0] * 4, stability=[0.9] * 4, split_share=[0.0] * 4
    )
    assert "holds together well" in sentences(report_data(links=calm))[2]


def test_what_mixes_is_joined_and_what_may_be_two_asks_for_more() -> None:
    data = report_data(links=cluster_links(), cluster_names=NAMES, folder="runs/my photos")
    found = {command: step.sentence for step in steps(data) for command in step.commands}
    assert "cluster 1 (dog) and cluster 2 (owl)" in found["spice groups 'runs/my photos' --cut 3"]
    again = "spice self --run-dir 'runs/my photos' --clusters 5 --redo"
    assert "cluster 3 (a fox)" in found[again]
    assert "spice semi --run-dir 'runs/my photos'" in found
    assert "spice groups 'runs/my photos'" in found


def test_empty_clusters_ask_for_fewer_and_a_collapse_for_another_start() -> None:
    clusters = np.arange(60, dtype=np.int32) % 3
    commands = [one for step in steps(report_data(clusters=clusters)) for one in step.commands]
    assert "spice self --run-dir RUN --clusters 3 --redo" in commands
    collapsed = report_data(clusters=np.full(60, 2, np.int32))
    commands = [one for step in steps(collapsed) for one in step.commands]
    assert commands[0] == "spice self --run-dir RUN --set self.start=kmeans --redo"
    assert not any(command.startswith("spice groups") for command in commands)


def test_who_counted_the_groups_is_not_told_to_count_them() -> None:
    commands = [one for step in steps(report_data(groups=suggestion())) for one in step.commands]
    assert "spice groups RUN" not in commands


# Listed in the cli once their branches are in.
_TO_COME = {"review", "apply", "organize"}


@pytest.mark.parametrize(
    "data",
    [
        report_data(links=cluster_links(), folder="runs/odd run", model="models/x y/1"),
        report_data(clusters=np.arange(60, dtype=np.int32) % 3),
        report_data(clusters=np.full(60, 2, np.int32)),
        embedding_run(links=cluster_links()),
    ],
    ids=["mixing", "empty", "collapsed", "embeddings"],
)
def test_every_command_is_one_that_exists_and_takes_these_words(data: ReportData) -> None:
    found = [shlex.split(command) for step in steps(data) for command in step.commands]
    assert len(found) >= 3
    for program, name, *words in found:
        assert program == "spice"
        command = main.commands.get(name)
        if command is None:
            assert name in _TO_COME
            continue
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(click.Path, "convert", lambda self, value, *_: value)
            command.make_context(name, [*words])
