"""The table of ablations: mean and deviation over trials, for the terminal and for files."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from spice_keras.report.formatting import MISSING, decimal

FIGURES = ("acc", "nmi", "ari")
ABLATION_HEADER = ("Row", "ACC", "NMI", "ARI", "n", "Paper")
"""`n`: finished trials; `Paper`: the paper's ACC, on STL-10."""
TRIAL_HEADER = ("table", "row", "title", "trial", "seed", *FIGURES, "seconds")


def summary(trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and sample deviation of each figure over the finished trials.

    Args:
        trials: Figures of each trial; empty if none was finished.

    Returns:
        ``mean`` and ``deviation``, each a mapping of the figures; a mean of no trial and a
        deviation of fewer than two are None.
    """
    values = {name: [float(trial[name]) for trial in trials] for name in FIGURES}
    return {
        "mean": {name: statistics.fmean(v) if v else None for name, v in values.items()},
        "deviation": {
            name: statistics.stdev(v) if len(v) > 1 else None for name, v in values.items()
        },
    }


def ablation_rows(rows: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Writes one line for each row, in the columns of ``ABLATION_HEADER``.

    Args:
        rows: Name of a row to its ``title``, ``trials``, ``mean``, ``deviation`` and ``paper``.

    Returns:
        A list of strings for each row, in order.
    """
    return [
        [
            str(row["title"]),
            *(_plus_minus(row["mean"][name], row["deviation"][name]) for name in FIGURES),
            str(len(row["trials"])),
            decimal(row["paper"][0]) if row["paper"] else MISSING,
        ]
        for row in rows.values()
    ]


def _plus_minus(mean: float | None, deviation: float | None) -> str:
    return decimal(mean) if deviation is None else f"{decimal(mean)}±{decimal(deviation)}"


def ablation_markdown(results: Mapping[str, Any]) -> str:
    """Writes the tables as a Markdown document.

    Args:
        results: The content of ablations.json.

    Returns:
        A table for each of the paper's tables, with what was changed in each row.
    """
    encoders = "one encoder for all" if results["pretrain_once"] else "an encoder for each"
    seeds = ", ".join(map(str, results["seeds"]))
    parts = [
        f"# Ablations of {results['name']}",
        f"Seeds {seeds}, {encoders}. Mean ± sample deviation over the n finished trials, at the "
        "end of each; nothing is chosen by labels, and only the row of Table 3 trains on any. "
        "`Paper` is the paper's ACC, on STL-10 with another encoder: compare the order of the "
        "rows, not their heights.",
    ]
    tables = dict.fromkeys(row["table"] for row in results["rows"].values())
    for table in tables:
        rows = {n: row for n, row in results["rows"].items() if row["table"] == table}
        lines = [("Name", *ABLATION_HEADER, "Options"), ("---",) * (len(ABLATION_HEADER) + 2)]
        for (name, row), cells in zip(rows.items(), ablation_rows(rows), strict=True):
            changed = [f"`{key}={_option(value)}`" for key, value in row["overrides"].items()]
            lines.append((f"`{name}`", *cells, " ".join(changed)))
        parts += [f"## {table}", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    if results["errors"]:
        parts += ["## Not finished", "\n".join(f"- {error}" for error in results["errors"])]
    return "\n\n".join(parts) + "\n"


def _option(value: Any) -> str:
    """Writes a value as `--set` takes it, on one line."""
    written: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return written.removesuffix("\n...\n").strip()


def trial_rows(results: Mapping[str, Any]) -> list[list[Any]]:
    """Writes one line for each trial of each row, in the columns of ``TRIAL_HEADER``.

    Args:
        results: The content of ablations.json.

    Returns:
        The lines.
    """
    return [
        [row["table"], name, row["title"], trial["trial"], trial["seed"],
         *(trial[figure] for figure in FIGURES), trial["seconds"]]
        for name, row in results["rows"].items()
        for trial in row["trials"]
    ]  # fmt: skip
