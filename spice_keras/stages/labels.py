"""True labels of a run: the one place that reads them.

Evaluation and ablations judge by them. `spice_keras.stages.true_labels` asks for them on behalf of
SPICE-Semi if the configuration says so. Nothing else may import this file.
"""

from __future__ import annotations

import numpy as np

from spice_keras.config.protocol import part_prefix
from spice_keras.data.labels import UNKNOWN, Labels, joined_labels
from spice_keras.data.sources import source_class
from spice_keras.run.context import Context
from spice_keras.run.sources import source_options


def read_labels(context: Context) -> Labels | None:
    """Read the true labels of a run's items.

    Args:
        context: The run; its images are there.

    Returns:
        The labels, with -1 where the class is unknown; None if none is known.

    Raises:
        UserError: If labels were asked for and cannot be had.
    """
    data = context.config.data
    if data.gives_no_labels:
        return None
    found = []
    for role, rows in context.parts.items():
        prefix = part_prefix(data, role)
        ids = [name.removeprefix(prefix) for name in context.ids[rows]]
        labels = source_class(data.source).read_labels(source_options(data, role), ids)
        if labels is None:
            labels = Labels(np.full(len(ids), UNKNOWN, np.int32), ())
        found.append(labels)
    joined = joined_labels(found)
    return joined if joined.num_unknown < len(joined.values) else None
