"""Results to docs/performance.md."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.growth import draw_growth

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "performance.md"
GROWTH = "growth.svg"
FINDINGS = Path(__file__).parent / "findings.md"

_METHOD = """\
# Performance

Written by `make bench` (`python -m benchmarks.run`); do not edit. Every row runs the code that a
`spice` run executes and, in a process of its own, what a user would write instead. Both take turns
within one run on the same data; a ratio is the other's seconds over ours in the same round, and the
table shows the median of the rounds and, in brackets, the lowest and the highest. Above 1 is faster
than the other side. "Processor" is the same ratio of the seconds that all threads of a side kept a
processor busy. A target counts as met when both medians reach it.

Only ratios can be compared: rates and seconds vary with the other work of a machine, ratios of
turns taken one after the other much less. Threads: "all" is what each library chooses. OpenMP, on
which PyTorch, FAISS and scikit-learn run, waits in a loop for its slowest thread; where another
program holds a core that multiplies its time (a MoCo step of PyTorch took ten times as long with
two threads as with one on a busy machine). A row with one thread on either side was measured on
such a machine.
"""


def summary(result: Mapping[str, Any]) -> str:
    """A few lines for the terminal."""
    lines = [f"  {_ratio_line(target)}" for target in result.get("targets", [])]
    lines += [
        f"  {figure['label']}: {figure['value']} {figure['unit']}"
        for figure in result.get("figures", [])
    ]
    if result.get("checked"):
        lines.append(f"  checked: {result['checked']}")
    lines += [f"  {name}: not run, {why}" for name, why in result.get("missing", {}).items()]
    return "\n".join(lines)


def _ratio_line(target: Mapping[str, Any]) -> str:
    wanted = "" if target["at_least"] is None else f", target {target['at_least']:g}"
    return (
        f"{target['ours']} against {target['against']}: {_ratio(target['ratio'])}, "
        f"processor {_ratio(target['processor_ratio'])}{wanted}"
    )


def _ratio(ratio: Mapping[str, float] | None) -> str:
    if ratio is None:
        return "not run"
    return f"{_short(ratio['median'])} ({_short(ratio['lowest'])} to {_short(ratio['highest'])})"


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def write(results: Path, rows: Sequence[str], page: Path = PAGE) -> None:
    """Write the page from the results that are there.

    Args:
        results: Folder of `NAME.json`.
        rows: Names, in the order of the page.
        page: Where it goes.
    """
    found, absent = [], []
    for name in rows:
        path = results / f"{name}.json"
        if path.exists():
            found.append(json.loads(path.read_text(encoding="utf-8")))
        else:
            absent.append(name)
    drawn = draw_growth(found, page.with_name(GROWTH))
    page.write_text(render(found, absent, growth=drawn), encoding="utf-8")


def render(
    results: Sequence[Mapping[str, Any]], absent: Sequence[str] = (), *, growth: bool = False
) -> str:
    """The page.

    Args:
        results: Of the rows that were run, in order.
        absent: Names of those that were not.
        growth: Whether the figure of growth lies beside the page.

    Returns:
        Markdown.
    """
    parts = [_METHOD, _machines(results), "## Ratios\n", _ratio_table(results)]
    if absent:
        parts.append("Not run: " + ", ".join(f"`{name}`" for name in absent) + ".\n")
    if FINDINGS.exists():
        parts.append(FINDINGS.read_text(encoding="utf-8"))
    several = len({_machine(result) for result in results}) > 1
    parts += [_section(result, names_machine=several) for result in results]
    if growth:
        parts.append(f"## Growth, drawn\n\n![Seconds and memory over N]({GROWTH})\n")
    return "\n".join(parts)


def _machines(results: Sequence[Mapping[str, Any]]) -> str:
    """One paragraph for each machine the results come from."""
    lines = ["## Machine\n"]
    seen = {_machine(result) for result in results}
    for text in sorted(seen):
        machine = json.loads(text)
        versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
        flags = ", ".join(machine["instructions"]) or "none of those asked for"
        lines.append(
            f"{machine['processor']}, {machine['cores']} cores ({flags}), "
            f"{machine['memory_gib']} GiB; {machine['system']}; {versions}.\n"
        )
    loads = [result["machine"]["load_average"] for result in results]
    loads = [load for load in loads if load is not None]
    if loads:
        lines.append(f"Load average after the rows: {min(loads):g} to {max(loads):g}.\n")
    return "\n".join(lines)


def _machine(result: Mapping[str, Any]) -> str:
    """What stays the same from row to row, as JSON."""
    constant = {key: value for key, value in result["machine"].items() if key != "load_average"}
    return json.dumps(constant, sort_keys=True)


def _ratio_table(results: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for result in results:
        for target in result.get("targets", []):
            rows.append(
                (
                    result["title"],
                    target["ours"].removeprefix("spice_keras, "),
                    target["against"],
                    _wanted(target["at_least"]),
                    _ratio(target["ratio"]),
                    _ratio(target["processor_ratio"]),
                    _verdict(target),
                    str(result["threads"] or "all"),
                    str(result["rounds"]),
                    f"`{result['command'].removeprefix('python -m benchmarks.')}`",
                    result["machine"]["processor"],
                )
            )
    head = (
        "path", "ours", "against", "target", "measured", "processor", "met", "threads", "rounds",
        "`python -m benchmarks.`", "on",
    )  # fmt: skip
    return _table(head, rows)


def _wanted(at_least: float | None) -> str:
    return "" if at_least is None else f"{at_least:g}"


def _verdict(target: Mapping[str, Any]) -> str:
    if target["at_least"] is None or target["ratio"] is None:
        return ""
    lower = min(target["ratio"]["median"], target["processor_ratio"]["median"])
    return "yes" if lower >= target["at_least"] else "no"


def _section(result: Mapping[str, Any], *, names_machine: bool = False) -> str:
    machine = result["machine"]
    on = f", {machine['processor']} ({', '.join(machine['instructions'])})" if names_machine else ""
    lines = [f"## {result['title']}\n", f"`{result['command']}`, {result['date']}{on}.\n"]
    if result.get("contenders"):
        lines.append(f"A turn: {result['turn']}.\n")
        head = ("", "median seconds", "lowest", "highest", f"{result['unit']} a second")
        lines.append(_table(head, [_seconds_row(each) for each in result["contenders"]]))
    if result.get("figures"):
        rows = [
            (figure["label"], f"{figure['value']} {figure['unit']}".strip(), figure["target"])
            for figure in result["figures"]
        ]
        lines.append(_table(("", "measured", "target"), rows))
    if result.get("table"):
        lines.append(_table(result["table"]["head"], result["table"]["rows"]))
    if result.get("checked"):
        lines.append(f"Checked: {result['checked']}.\n")
    lines += [f"{note}\n" for note in result.get("notes", [])]
    lines += [f"{name}: not run, {why}.\n" for name, why in result.get("missing", {}).items()]
    return "\n".join(lines)


def _seconds_row(contender: Mapping[str, Any]) -> tuple[str, ...]:
    seconds = contender["seconds"]
    numbers = (median(seconds), min(seconds), max(seconds))
    rate = contender["rate"]
    return (
        contender["name"],
        *(f"{number:.3g}" for number in numbers),
        "" if rate is None else f"{rate:,.0f}",
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    titles = list(head)
    lines = [_row(titles), _row(["---"] * len(titles)), *(_row(row) for row in rows)]
    return "\n".join(lines) + "\n"


def _row(cells: Iterable[Any]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"
