"""Runs comparisons, one after the other, and writes what they gave.

python -m benchmarks.run [NAME ...] [--rounds N] [--threads N] [--list]
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from pathlib import Path
from typing import Any

from benchmarks import machine, report
from benchmarks.harness import measure
from benchmarks.workers import Unavailable, threads_limited

RESULTS = Path(__file__).parent / "results"
ROWS = (
    "moco_step",
    "fixmatch_step",
    "feature_extraction",
    "self_iteration",
    "head_training",
    "strong_policy_32",
    "strong_policy_96",
    "moco_views",
    "neighbors_16000",
    "local_consistency_memory",
    "decoding_5000",
    "input_share",
    "evaluation",
    "arithmetic",
    "scaling_10000",
    "scaling_100000",
    "neighbor_search_60000",
)
"""In the order of the report; each is a module `benchmarks.NAME`, or NAME_SIZE of one."""

LONG_ROWS = (
    "neighbors_50000",
    "decoding_50000",
    "neighbor_search_300000",
    "neighbor_search_1000000",
    "scaling_1000000",
)
"""Run by name only: many minutes each."""


def run_row(name: str, rounds: int | None = None, threads: int | None = None) -> dict[str, Any]:
    """Measure one row.

    Args:
        name: One of `ROWS` or `LONG_ROWS`.
        rounds: Instead of its own number of rounds.
        threads: Of either side; None leaves the choice to the libraries.

    Returns:
        The result, with the machine and the command.
    """
    module_name, _, size = name.rpartition("_")
    sized = size.isdigit()
    module = importlib.import_module(f"benchmarks.{module_name if sized else name}")
    arguments = (int(size),) if sized else ()
    with threads_limited(threads):
        if hasattr(module, "measured"):
            result = module.measured(*arguments)
        else:
            result = measure(module.comparison(*arguments), rounds)
    given = f" --threads {threads}" if threads else ""
    given += f" --rounds {rounds}" if rounds else ""
    return result | {
        "name": name,
        "threads": threads,
        "command": f"python -m benchmarks.run {name}{given}",
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine.describe(),
    }


def main() -> None:
    """Read the command line, run, write the results and the report."""
    parser = argparse.ArgumentParser(prog="benchmarks.run", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"of {', '.join(ROWS)}; by name only: {', '.join(LONG_ROWS)}",
    )
    parser.add_argument("--rounds", type=int, help="rounds of each row, instead of its own number")
    parser.add_argument(
        "--threads", type=int, help="threads of each side: 1 where the machine has other work"
    )
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    options = parser.parse_args()
    unknown = set(options.names) - {*ROWS, *LONG_ROWS}
    if unknown:
        parser.error(
            f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(ROWS + LONG_ROWS)}"
        )
    if options.list:
        print("\n".join(ROWS))
        return
    for name in options.names or ROWS:
        begin = time.monotonic()
        try:
            result = run_row(name, options.rounds, options.threads)
        except Unavailable as error:
            print(f"{name}: not run, {error}", flush=True)
            continue
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{name}.json"
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(f"{name} ({time.monotonic() - begin:.0f} s)\n" + report.summary(result), flush=True)
    report.write(RESULTS, ROWS + LONG_ROWS)


if __name__ == "__main__":
    main()
