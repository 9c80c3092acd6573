"""The table of docs/scale.md: machines, hours, storage and memory for N images.

python -m benchmarks.scale_table

Every constant below has a name and where it comes from; those that were not measured say so. The rate of a machine comes from
results/input_side.json, which `python -m benchmarks.input_side FOLDER` writes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from benchmarks.input_side import CORES, RESULT, SHARD, STORAGE, fleet

DIM = 1280
"""Values of efficientnet_lite0's embeddings."""
SAMPLE = 200_000
"""Rows that heads, selection and report see: --sample."""
ID_BYTES = 20
"""Of an id on disk, about."""
PYTHON_ID_BYTES = 150
"""Of an id in Python, about (docs/scale.md)."""
NEIGHBOR_PRODUCTS = 1.5e11
"""Products and sums a second of two cores in the exact search (spice_keras/clustering)."""
SORT_ROWS = 60_000.0
"""Assumed, not measured: rows a second that two cores sort, as `stages/sort_shards.py` does."""
SIZES = ((10_000, 1), (1_000_000, 1), (100_000_000, 20), (1_000_000_000, 100))
"""Images, and machines of 16 cores for them."""
GIB = 2**30


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        images: N.
        machines: Of 16 cores.
        embed: Hours of `spice embed`.
        heads: Hours of the neighbours of the sample, exact: a bound for what heads wait for.
        sort: Hours of sorting all rows by the chosen head, on one machine.
        shards: Bytes of embeddings and ids.
        memory: Bytes of the largest process that grows with the sample.
        bottleneck: What everything waits for.
        switch: What to turn.
    """

    images: int
    machines: int
    embed: float
    heads: float
    sort: float
    shards: float
    memory: float
    bottleneck: str
    switch: str


def row(images: int, machines: int, rate: float, bytes_an_image: float) -> Row:
    """Work out a row.

    Args:
        images: N.
        machines: Of 16 cores.
        rate: Images a second of one of them.
        bytes_an_image: That storage must give.
    """
    shared = fleet(rate, machines, images, shared=True, bytes_an_image=bytes_an_image)
    sample = min(images, SAMPLE)
    heads = sample**2 * (DIM + 60) / (NEIGHBOR_PRODUCTS * CORES / 2) / 3600
    sort = 0.0 if images <= SAMPLE else images / (SORT_ROWS * CORES / 2) / 3600
    waits_for_storage = rate * machines * bytes_an_image > STORAGE
    last = max(("the encoder", shared["hours"]), ("sorting", sort), key=lambda each: each[1])[0]
    if images <= SAMPLE:
        switch = "none: spice run --images"
    elif machines == 1:
        switch = "spice embed, then spice self --embeddings --sample"
    else:
        switch = "spice pack, spice embed --engine ray, then --sample"
    return Row(
        images,
        machines,
        shared["hours"],
        heads,
        sort,
        images * (2 * DIM + ID_BYTES),
        2 * sample * DIM * 4 + sample * 100 * 4 + SHARD * PYTHON_ID_BYTES,
        "reading the images" if waits_for_storage and last == "the encoder" else last,
        switch,
    )


def main() -> None:
    """Print the table."""
    found = json.loads(RESULT.read_text(encoding="utf-8"))
    rate = max(found["one_machine"].values())
    size = found["bytes_an_image"]
    print(f"A machine of {CORES} cores: {rate:.0f} images/s at {found['side']} px (simulated from "
          f"{found['costs']}), {size / 1000:.0f} kB an image.\n")  # fmt: skip
    print(
        "| Images | Machines | Embed | Neighbours of the sample | Sort | Images on disk | Shards "
        "| Memory | Waits for | Switch |\n|" + "---|" * 10
    )
    for images, machines in SIZES:
        one = row(images, machines, rate, size)
        print(
            f"| {images:,} | {machines} | {one.embed:.2g} h | {one.heads:.2g} h | {one.sort:.2g} h "
            f"| {images * size / GIB:,.3g} GiB | {one.shards / GIB:,.2g} GiB "
            f"| {one.memory / GIB:.2g} GiB | {one.bottleneck} | {one.switch} |"
        )


if __name__ == "__main__":
    main()
